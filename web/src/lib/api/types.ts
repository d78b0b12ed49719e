// The only importer of the generated schema: names of the API's shapes as the pages use them.
import type { components } from './schema';

type Schemas = components['schemas'];

export type Pagination = Schemas['Pagination'];
export type ErrorBody = Schemas['ErrorBody'];
export type Role = Schemas['Role'];
export type User = Schemas['User'];
export type SetupState = Schemas['SetupState'];
export type SetupRequest = Schemas['SetupRequest'];
export type SetupAnswer = Schemas['SetupAnswer'];
export type LoginRequest = Schemas['LoginRequest'];
export type LoginAnswer = Schemas['LoginAnswer'];
export type Me = Schemas['Me'];
export type Clock = Schemas['Clock'];
export type EnrolmentTokenMade = Schemas['EnrolmentTokenMade'];
export type EnrolmentTokenRequest = Schemas['EnrolmentTokenRequest'];
export type Status = Schemas['Status'];
export type PootState = Schemas['PootState'];
export type PootSummary = Schemas['PootSummary'];
export type Latest = Schemas['Latest'];
export type HardwareInfo = Schemas['HardwareInfo'];
export type Node = Schemas['Node'];
export type NodeList = Schemas['NodeList'];
export type Pool = Schemas['Pool'];
export type PoolList = Schemas['PoolList'];
export type ResourceMetrics = Schemas['ResourceMetrics'];
export type Resources = Schemas['Resources'];
export type MetricSeries = Schemas['MetricSeries'];
export type SlotState = Schemas['SlotState'];
export type Score = Schemas['Score'];
export type NodeEpoch = Schemas['NodeEpoch'];
export type NodeEpochList = Schemas['NodeEpochList'];
export type PayoutAddress = Schemas['PayoutAddress'];
export type Payout = Schemas['Payout'];
export type PayoutList = Schemas['PayoutList'];

// Events of GET /events are not part of an OpenAPI document, so they are named here.
export type ReportEvent = Latest & { node_id: string; status?: Status; slot?: number; proven?: boolean };
export type NodeEvent = { node_id: string; change: 'created' | 'updated' | 'deleted' };
export type LiveEvents = {
  report: ReportEvent;
  node: NodeEvent;
  epoch: { epoch: number };
  payout: { payout_id: string };
  /** Events were missed: reload what is shown. */
  reset: Record<string, never>;
};
