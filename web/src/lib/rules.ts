// The parameters of scores and credits in words. Every number is the manager's; nothing here decides anything.
import type { PootParams } from './api/types';
import { count } from './fleet';
import { exact } from './format';
import { SLOT_SECONDS } from './poot';

export type Rule = { name: string; text: string };

const times = (value: number) => value.toFixed(2).replace(/\.?0+$/, '');
const percent = (share: number) => `${Math.round(share * 100)} %`;
/** From two days on in days. */
const time = (seconds: number) => (seconds >= 172_800 && seconds % 86_400 === 0 ? `${seconds / 86_400} d` : exact(seconds));
const slots = (n: number) => `${time(n * SLOT_SECONDS)} (${count(n)} slots)`;

export function rules(p: PootParams): Rule[] {
  const weights = [
    { share: p.weights.output, text: 'answers to challenges, where the pool expects outputs' },
    { share: p.weights.stability, text: `stability, which is gone at ${p.interruptions_to_zero} interruptions` },
    { share: p.weights.resources, text: 'measurements within their thresholds' },
  ];
  const counting = weights.filter((w) => w.share > 0).map((w) => `up to ${percent(w.share)} for ${w.text}`);
  return [
    { name: 'Slot', text: `Every ${SLOT_SECONDS} s a node has to prove itself with a signed report. One is proven, or missed; when the manager was not listening it is not observed, and does not count either way.` },
    { name: 'Window', text: `A score looks at the last ${slots(p.window_slots)} in which the node was observed, and never further back than ${time(p.max_age_slots * SLOT_SECONDS)}.` },
    { name: 'Pending', text: `Until a node was observed for ${exact(p.min_observation_seconds)} it has no score. What it earns meanwhile is held: the first valid score releases it, an invalid one forfeits it.` },
    { name: 'Score', text: `Proven of observed slots, 0 to 100${counting.length > 0 ? `; it can lose ${counting.join(', and ')}` : '; nothing else takes from it'}.` },
    { name: 'Valid', text: `From ${times(p.min_score)} on. Below, a node is invalid and earns nothing.` },
    { name: 'Credits', text: `The pool's reward per hour for the proven time, times the score, times the multiplier.` },
    {
      name: 'Multiplier',
      text: `It grows from × 1 to × ${times(p.multiplier.max)} over ${slots(p.multiplier.slots_to_max)} of proven time, while at least ${p.multiplier.grows_from_percent} % of the window is proven. A missed slot takes back the growth of ${p.multiplier.loss_per_slot_down}.`,
    },
  ];
}
