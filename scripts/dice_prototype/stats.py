"""What the dice tell of n-gram drafts: python stats.py TAG TEMPERATURE TOP_P MIN_P OUT trace trace"""
import json
import sys

import numpy as np
from dice_e import load

from aded_edge.draft.drafter import AdaptiveDrafter, Step
from aded_edge.draft.estimate import CONTEXT, MOST_CANDIDATES, blend
from aded_edge.draft.spans import WAYS
from aded_edge.draft.tree import DraftTree

tag, T, top_p, min_p, out = sys.argv[1], *map(float, sys.argv[2:5]), sys.argv[5]
L = [32, 16, 8, 6, 4, 3, 2, 1]
U = [0, .5, .7, .8, .9, 1]
Q = [.4, .6, .8, .93]


def drawn_from(p):
    p = p.astype(float)
    n = min(int(np.searchsorted(np.cumsum(p), top_p)) + 1, 16)
    q = p[:n]
    q = q[q >= min_p * q[0]] ** (1 / T)
    return np.cumsum(q / q.sum())


d, log, index, result = AdaptiveDrafter(), [], {}, []
nt, nr, kind, cp = np.empty(MOST_CANDIDATES, np.int32), np.empty(MOST_CANDIDATES), np.empty(2), np.empty(WAYS, np.int32)
for visit, file in enumerate(sys.argv[6:], 1):
    rows, votes = [], []
    for turn, us in load(file):
        text = np.concatenate((turn.prompt, turn.answer))
        P = len(turn.prompt)
        d.read(turn.prompt, 0)

        def add(j, dist):
            log.append((text[j], dist))
            for n in L:
                if j >= n:
                    index[text[j - n : j].tobytes()] = len(log) - 1

        for j in range(P):
            add(j, None)
        for k, a in enumerate(turn.answer):
            j, u = P + k, us[k]
            n = blend(d.matrix.table, d.spans.log, text[max(0, j - CONTEXT) : j], 0.7, CONTEXT, nt, nr, kind, cp)
            best = int(np.argmax(nr[:n])) if n else -1
            token, q = (nt[best], nr[best]) if n else (-1, 0.0)
            tops, c = turn.top_tokens[k], drawn_from(turn.top_probs[k])
            known = bool((nt[:n] == a).any())
            rows.append((u, q, token == a, token == tops[0], a == tops[0], known, u < c[0]))
            for m in L:
                place = index.get(text[j - m : j].tobytes()) if j >= m else None
                if place is not None:
                    said, dist = log[place]
                    if dist is not None:
                        i = min(int((dist[1] < u).sum()), len(dist[1]) - 1)
                        votes.append((said == a, dist[0][i] == a, dist[0][0] == a))
                    break
            add(j, (tops, c))
            before = np.asarray([text[j - 2]], np.int32)
            d.learn(Step(DraftTree.empty(), np.asarray([-1], np.int32), np.asarray([a], np.int32), before, text[j - 1 : j], tops[None, :8], turn.top_probs[k : k + 1, :8]))
    r = np.asarray(rows, float)
    u, q, hit, cand, argmax, known, below = r.T
    miss = hit == 0
    bands = []
    for lo, hi in zip(Q, [*Q[1:], 9]):
        s = (q >= lo) & (q < hi)
        bands.append(dict(estimate=lo, n=int(s.sum()), hit=hit[s].mean(), misses_by_dice=cand[s & miss].mean(),
            by_u=[[float(hit[s & (u >= a) & (u < b)].mean()), int((s & (u >= a) & (u < b)).sum())] for a, b in zip(U, U[1:])]))
    v = np.asarray(votes, float).mean(0)
    result.append(dict(tag=tag, temperature=T, top_p=top_p, min_p=min_p, visit=visit, tokens=len(r), dice_agree=float((below == argmax).mean()),
        argmax=argmax.mean(), hit=hit.mean(), candidate_is_argmax=cand.mean(), misses_by_dice=cand[miss].mean(),
        other_drawn_is_candidate=known[argmax == 0].mean(), u=U, estimates=bands, votes=dict(n=len(votes), token=v[0], by_u=v[1], argmax=v[2])))
    print(json.dumps({k: x for k, x in result[-1].items() if k != "estimates"}), flush=True)
    open(out, "w").write(json.dumps(result))
