import numpy as np
from pathlib import Path
from aded_edge.bench.replay.trace import Trace
r=np.load('/tmp/dice_rows.npy'); am=[];p1=[]
for f in ('/tmp/tr/smol-t08-s0.npz','/tmp/tr/smol-t08-s1.npz'):
    for t in Trace.load(Path(f)).turns:
        am.append(t.top_tokens[:,0]==t.answer)
        for p in t.top_probs:
            c=np.cumsum(p.astype(float)); n=min(int(np.searchsorted(c,.95))+1,16); q=p[:n].astype(float); q=q[q>=.05*q[0]]**1.25; p1.append(q[0]/q.sum())
am=np.concatenate(am); p1=np.asarray(p1); u=r[:,3]; rank=r[:,4]; top0=r[:,11]>0; q=r[:,5]
print('u<p1 == argmax drawn', np.mean((u<p1)==am))
for v in (0,1):
    m=r[:,0]==v
    h=rank[m]==0
    print('visit',v+1,'hit',h.mean(),'candidate is argmax',top0[m].mean(),'of misses: cand is argmax',(top0[m]&~h).sum()/(~h).sum())
    for lo,hi in ((.6,.8),(.8,.93),(.93,2)):
        s=m&(q>=lo)&(q<hi); hs=rank[s]==0
        print('  est',lo,hi,'n',s.sum(),'hit',hs.mean(),'misses by the dice',(top0[s]&~hs).sum()/(~hs).sum(), 'p1 where cand is argmax',p1[s&top0].mean())
    s=m&~am
    print('  not-argmax drawn',s.sum()/m.sum(),'cand0 hit',np.mean(rank[s]==0),'in candidates',np.mean(rank[s]>0),'rank1',np.mean(rank[s]==1),'rank2',np.mean(rank[s]==2))
# log loss with and without u: tables fitted on visit 1, tested on visit 2, features kind x qband, x uband
qb=np.searchsorted([.05,.12,.25,.4,.6,.8,.93],q); ub=np.searchsorted([.5,.7,.8,.9,.96],u); k=r[:,1].astype(int)
tr=r[:,0]==0; te=~tr; y=(rank==0)
def fit(cells,n,base=None,k0=6.):
    a=np.bincount(cells[tr],y[tr],n); 
    if base is None: return (a+.3*k0)/(np.bincount(cells[tr],minlength=n)+k0)
base=fit(k*8+qb,64); pb=np.clip(base[k*8+qb],.002,.998)
e=np.bincount((qb*6+ub)[tr],pb[tr],48); a=np.bincount((qb*6+ub)[tr],y[tr],48); f=(a+6)/(e+6); pu=np.clip(pb*f[qb*6+ub],.002,.998)
ll=lambda p:-np.mean(np.log(np.where(y[te],p[te],1-p[te])))
print('log loss on visit 2: without u',ll(pb),'with',ll(pu),'entropy',-np.mean(y[te])*np.log(y[te].mean())-(1-y[te].mean())*np.log(1-y[te].mean()))
print(np.round(f.reshape(8,6),2))
