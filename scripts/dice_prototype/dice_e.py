import numpy as np,sys,json
from pathlib import Path
from aded_edge.bench.replay.trace import Trace
from aded_edge.bench.replay.run import Replay
from aded_edge.bench.replay.curves import load_curves
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.decode.budget import CostBudget
from aded_edge.runtime.building import *
def dice(seed,n):
    r=np.random.RandomState(seed); x=np.asarray([r.randint(0,2**32,dtype=np.uint64) for _ in range(2*n)])
    return (x[0::2]+x[1::2]*2.0**32)/2.0**64
class D(AdaptiveDrafter):
    us=None; start=0; use=True
    def draft(self,h,root,m,w=0.0):
        k=len(h)+1-self.start   # root at index len(h); next drawn is answer[k]
        self.dice=self.us[k:k+64] if self.use else None
        return super().draft(h,root,m,w)
def load(f):
    t=Trace.load(Path(f)); g=Path(f).with_suffix('.dice.npy'); out=[]
    if g.exists(): a=np.load(g)
    else: a=None; s=dice(t.conditions['seed'],400)
    at=0
    for x in t.turns:
        n=len(x.answer); u=(a[at:at+n] if a is not None else s[:n]); at+=n
        out.append((x,np.concatenate((u,np.zeros(0)))))
    return out
def run(files,curves,use,mk=None):
    res={}
    trs=[load(f) for f in files]
    for c in curves:
        d=D(); d.use=use
        r=Replay(d,c)
        b=r._budget
        row=[]
        for tr in trs:
            cost=plain=0
            for turn,u in tr:
                d.us=u; d.start=len(turn.prompt)
                t=r.answer(turn); cost+=t.cost; plain+=t.plain
            row.append(plain/cost)
        res[c.name]=row
    return res
if __name__=='__main__':
    names=sys.argv[1]; files=sys.argv[2:]
    cs=[x for n in names.split(',') for x in load_curves(n,None)]
    a=run(files,cs,False); b=run(files,cs,True)
    for n in a: print('%-36s'%n,' '.join('%.3f->%.3f (%+.1f%%)'%(x,y,100*(y/x-1)) for x,y in zip(a[n],b[n])))
