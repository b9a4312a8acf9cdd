import numpy as np,sys
from pathlib import Path
from aded_edge.bench.replay.trace import Trace
sys.path.insert(0,'/tmp')
def dice(seed,n):
    r=np.random.RandomState(seed); x=np.asarray([r.randint(0,2**32,dtype=np.uint64) for _ in range(2*n)])
    return (x[0::2]+x[1::2]*2.0**32)/2.0**64
def sampler(tk,p,T=.8):
    c=np.cumsum(p.astype(float)); n=min(int(np.searchsorted(c,0.95))+1,16)
    q=p[:n].astype(float); q=q[q>=0.05*q[0]]; q=q**(1/T); q/=q.sum(); return tk[:len(q)],q,np.cumsum(q)
L=[8,6,4,3,2,1]
idx={}
log=[]  # (token, dist or None)
stat={}
argm=0;N=0; psum=0
for v,f in enumerate(sys.argv[1:]):
    t=Trace.load(Path(f)); us=dice(t.conditions['seed'],400); stat={}
    argm=N=0;psum=0
    for turn in t.turns:
        base=len(log); text=list(turn.prompt)+list(turn.answer)
        P=len(turn.prompt)
        def add(j,d):
            log.append((text[j],d))
            for n in L:
                if j>=n: idx.setdefault(tuple(text[j-n:j]),[]).append(len(log)-1)
        for j in range(P): add(j,None)
        for k,a in enumerate(turn.answer):
            j=P+k; d=sampler(turn.top_tokens[k],turn.top_probs[k]); u=us[k]
            N+=1; argm+=a==d[0][0]; psum+=d[1][0]
            for n in L:
                if j<n: continue
                pl=idx.get(tuple(text[j-n:j]))
                if pl:
                    e=log[pl[-1]]
                    pred=e[0]
                    if e[1] is None: src='prompt'; pu=pred
                    else:
                        src='gen'; i=min(int((e[1][2]<u).sum()),len(e[1][0])-1); pu=e[1][0][i]
                    am=pred if e[1] is None else e[1][0][0]
                    s=stat.setdefault((n,src),np.zeros(8)); s+= [1,pred==a,pu==a,am==a, d[0][0]==pred, (pu==a)and u<.5, (pred==a)and u<.5,u<.5]
                    break
            add(j,d)
    print('visit',v,'argmax share',argm/N,'mean p1',psum/N)
    tot=np.zeros(8)
    for key in sorted(stat):
        s=stat[key]; tot+=s; print(key,int(s[0]),'token %.3f byu %.3f argmax %.3f pred=target argmax %.3f | u<.5: byu %.3f token %.3f'%(s[1]/s[0],s[2]/s[0],s[3]/s[0],s[4]/s[0],s[5]/s[7],s[6]/s[7]))
    s=tot; print('all',int(s[0]),'token %.3f byu %.3f argmax %.3f'%(s[1]/s[0],s[2]/s[0],s[3]/s[0]))
