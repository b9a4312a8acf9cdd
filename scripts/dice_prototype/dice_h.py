import sys
import dice_e
from dice_e import *
from aded_edge.draft.calibration import *
B=8
def setup(d,kind):
    c=d.calibration.counts; n=DICE_CELLS
    m=np.arange(n); prior=np.full(n,6.0); f=np.ones(n)
    where=m//B; band=m%B
    U=[1.1,.97,.95,.92,.86,.74]
    if kind=='free': pass
    if kind in('first','fix','fixlow'): prior[where>=6]=1e6
    if kind=='first': prior[:48]=20
    if kind=='merge': m=where*B; prior[:]=20; prior[where>=6]=1e6
    if kind in('fix','fixlow'):
        prior[:48]=40
        for w in range(6): f[where==w]=U[w] if kind=='fix' else min(U[w],1.0)
        f[band<4]=1
    if kind=='stop':   # only the highest dice
        prior[:]=1e6; s=(where<6)&(where>=4); prior[s]=12; f[where==5]=.74; f[where==4]=.86; f[where>=6]=1
    c[NEW_ACCEPTED,CELLS:]=m; c[NEW_EXPECTED,CELLS:]=prior
    c[TRUST,CELLS:]=f; c[EXPECTED,CELLS:]=np.minimum(prior,1e6)*0
    if kind in ('fix','fixlow','stop'):
        w=30.0; c[EXPECTED,CELLS:]=w; c[ACCEPTED,CELLS:]=w*f; c[NEW_EXPECTED,CELLS:]=np.where(prior>1e5,1e6,0.01)
class D2(D):
    kind='free'
    def __init__(self,**k):
        super().__init__(**k); setup(self,D2.kind)
dice_e.D=D2
if __name__=='__main__':
    kinds=sys.argv[1].split(',')
    for n in sys.argv[2].split(','):
        for c in load_curves(n,None):
            a=run(sys.argv[3:],[c],False)[c.name]; print('%-30s'%c.name,'now',' '.join('%.3f'%x for x in a),end=' ',flush=True)
            for k in kinds:
                D2.kind=k; b=run(sys.argv[3:],[c],True)[c.name]
                import json; open('/tmp/dice_tr/results.jsonl','a').write(json.dumps(dict(traces=sys.argv[3:],curve=c.name,kind=k,now=a,dice=b))+'\n')
                print('|',k,' '.join('%.3f (%+.1f%%)'%(y,100*(y/x-1)) for x,y in zip(a,b)),end=' ',flush=True)
            print(flush=True)
