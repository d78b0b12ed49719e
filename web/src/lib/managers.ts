// What the cluster says of managers, in words.
import type { FleetManager } from './api/types';
import { unixMs } from './format';

/** Who replicates is seen twice a minute. */
const SEEN_MS = 5 * 60_000;

/** What stands in the way of taking what it says as of now; empty where nothing does. `asOf` is when the cluster was read. */
export function silence({ seen_at, has_ended }: Pick<FleetManager, 'seen_at' | 'has_ended'>, asOf: string): string {
  return has_ended ? 'ended' : unixMs(asOf)! - (unixMs(seen_at) ?? Infinity) > SEEN_MS ? 'not seen for a while' : '';
}
