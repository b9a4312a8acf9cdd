import numpy as np,sys
from pathlib import Path
from aded_edge.bench.replay.trace import Trace
from aded_edge.draft.drafter import AdaptiveDrafter, Step
from aded_edge.draft.estimate import blend, CONTEXT, MOST_CANDIDATES
from aded_edge.draft.spans import WAYS
from aded_edge.draft.tree import DraftTree
def dice(seed,n):
    r=np.random.RandomState(seed); x=r.randint(0,2**32,size=2*n,dtype=np.uint64).astype(np.uint64)
    return (x[0::2]+x[1::2]*2.0**32)/2.0**64
rows=[]
d=AdaptiveDrafter()
nt=np.empty(MOST_CANDIDATES,np.int32); nr=np.empty(MOST_CANDIDATES); kind=np.empty(2); cp=np.empty(WAYS,np.int32)
E=np.empty(0,np.int32)
for v,f in enumerate(sys.argv[2:]):
    t=Trace.load(Path(f))
    for turn in t.turns:
        from aded_edge.llamacpp.prompt import common_prefix
        text=np.concatenate((turn.prompt,turn.answer)); P=len(turn.prompt)
        d.read(turn.prompt,0)
        us=dice(t.conditions['seed'],len(turn.answer))
        for k,a in enumerate(turn.answer):
            ctx=text[max(0,P+k-CONTEXT):P+k]
            n=blend(d.matrix.table,d.spans.log,ctx,0.7,CONTEXT,nt,nr,kind,cp)
            o=np.argsort(-nr[:n],kind='stable'); q=nr[:n][o]; tk=nt[:n][o]
            w=np.flatnonzero(tk==a); rank=int(w[0]) if len(w) else -1
            qq=np.zeros(6); qq[:min(6,n)]=q[:6]
            p1=turn.top_probs[k]; hit=turn.top_tokens[k]==a
            rows.append([v,kind[0],kind[1],us[k],rank,*qq, int(len(tk)>0 and tk[0]==turn.top_tokens[k][0])])
            # learn
            b=np.asarray([text[P+k-2] if P+k>1 else -1],np.int32); l=np.asarray([text[P+k-1]],np.int32)
            d.learn(Step(DraftTree.empty(),np.asarray([-1],np.int32),np.asarray([a],np.int32),b,l,turn.top_tokens[k:k+1,:8],turn.top_probs[k:k+1,:8]))
np.save(sys.argv[1],np.asarray(rows))
