import sys,time
from pathlib import Path
import numpy as np
from aded_edge.bench.dialogs import load_dialogs
from aded_edge.bench.machine import run_conditions
from aded_edge.decode.candidates import top_candidates
from aded_edge.llamacpp.context import ends_answer,last_logits
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.runtime.llama import Llama
from aded_edge.bench.replay.trace import TOP,Trace,Turn
tag,T,top_p,min_p,until=sys.argv[1],float(sys.argv[2]),float(sys.argv[3]),float(sys.argv[4]),sys.argv[5]
model=Path('models/SmolLM2-135M-Instruct.Q4_1.gguf')
ll=Llama(model,store=None,drafting='off',n_ctx=2048,n_threads=1,n_threads_batch=1,verbose=False)
pr=Prompter(ll); turns={0:[],1:[]}
cost={'1':1.0,'2':1.6,'4':2.3,'8':3.9,'16':6.0}
ds=load_dialogs(Path('/work/shared/data/spec_bench_dev.jsonl'),48)
MT=128
for di,d in enumerate(ds):
    if time.strftime('%H:%M')>=until: break
    for s in (0,1):
        ms=list(d.before)
        for turn,text in enumerate(d.turns[:1]):
            ms.append({'role':'user','content':text}); p=pr.tokens(ms)
            if len(p)+MT>=2048 or len(p)>900: break
            seed=(s*100003+di*1009+turn)*7919%2**32
            ll.set_seed(seed); tk,tops=[],[]
            for t in super(Llama,ll).generate(p,temp=T,top_p=top_p,min_p=min_p):
                tops.append(top_candidates(last_logits(ll)[None],TOP)); tk.append(int(t))
                if ends_answer(ll,t) or len(tk)>=MT: break
            n=len(tk); r=np.random.RandomState(seed); x=np.asarray([r.randint(0,2**32,dtype=np.uint64) for _ in range(2*n)])
            tt=Turn(d.id,d.category,turn,np.asarray(p,np.int32),np.asarray(tk,np.int32),np.concatenate([a for a,b in tops]),np.concatenate([b for a,b in tops]))
            turns[s].append((tt,((x[0::2]+x[1::2]*2.0**32)/2.0**64)))
            ms.append({'role':'assistant','content':pr.text(tk)})
    for s in (0,1):
        c={**run_conditions(model),'fingerprint':model_fingerprint(ll),'n_vocab':ll.n_vocab(),'prompts':'spec_bench_dev.jsonl','max_tokens':MT,'temperature':T,'seed':s,'n_ctx':2048,'threads':1,'gpu_layers':0,'flash_attn':False,'cost':cost}
        f=Path(f'/tmp/dice_tr/{tag}-s{s}.npz'); f.unlink(missing_ok=True)
        if turns[s]:
            Trace(c,[a for a,_ in turns[s]]).save(f); np.save(f.with_suffix('.dice.npy'),np.concatenate([b for _,b in turns[s]]))
    print(di,sum(len(a.answer) for a,_ in turns[0]),flush=True)
