// The only importer of the generated schema: the API's routes and shapes under the names the pages use.
import type { components, paths } from './schema';

type Schemas = components['schemas'];

export type ErrorBody = Schemas['ErrorBody'];
export type Role = Schemas['Role'];
export type User = Schemas['UserView'];
export type EnrolmentTokenMade = Schemas['TokenMade'];
export type Status = Schemas['NodeStatus'];
export type PootSummary = Schemas['PootSummary'];
export type Latest = Schemas['LatestSample'];
export type Node = Schemas['Node'];
export type Pool = Schemas['Pool'];
export type PoolMetrics = Schemas['PoolMetrics'];
export type PoolRequest = Schemas['NodePoolCreateRequest'];
export type PoolUpdate = Schemas['NodePoolUpdateRequest'];
export type NodeAction = Schemas['NodeAction'];
export type NodeActionResult = Schemas['NodeActionResult'];
export type ResourceMetrics = Schemas['ResourceMetrics'];
export type Granularity = Schemas['Granularity'];
export type SlotState = Schemas['SlotState'];
export type Score = Schemas['PootScore'];
export type Uptime = Schemas['Uptime'];
export type Happened = Schemas['HistoryEntry'];
export type HappenedCategory = Schemas['NodeEventCategory'];
export type NodeCommand = Schemas['NodeCommand'];
export type MaintenanceList = Schemas['MaintenanceList'];
export type MaintenancePeriod = Schemas['MaintenancePeriod'];
export type MaintenanceRequest = Schemas['MaintenanceRequest'];
export type Balances = Schemas['Balances'];
export type Thresholds = Schemas['ThresholdsView'];
export type ThresholdsRequest = Schemas['ThresholdsRequest'];
export type Allocation = Schemas['Allocation'];
export type Amounts = Schemas['ResourceAmounts'];
export type AllocateRequest = Schemas['AllocateRequest'];
export type PoolHealth = Schemas['PoolHealth'];
export type HappenedKind = Schemas['NodeEventKind'];
export type NodeEpochList = Schemas['NodeEpochList'];
export type Settlement = Schemas['Settlement'];
export type PayoutAddress = Schemas['AddressView'];
export type PayoutList = Schemas['PayoutList'];
export type Payout = Schemas['PayoutView'];
export type PayoutDetail = Schemas['PayoutDetail'];
export type PayoutStatus = Schemas['PayoutStatus'];
export type Money = Schemas['MoneyView'];
export type Wallet = Schemas['WalletView'];
export type PayoutChoice = Schemas['PayoutChoice'];
export type GoingLive = Schemas['LiveRequest'];
export type LivePlan = Schemas['LivePlan'];
export type UnknownTransfer = Schemas['UnknownTransferView'];
export type Waiting = Schemas['WaitingView'];
export type Preview = Schemas['Preview'];
export type Batch = Schemas['BatchView'];
export type Schedule = Schemas['PayoutScheduleView'];
export type ScheduleRequest = Schemas['PayoutScheduleRequest'];
export type Posting = Schemas['PostingView'];
export type Statement = Schemas['Statement'];
export type RewardView = Schemas['RewardView'];
export type Severity = Schemas['Severity'];
export type Alert = Schemas['AlertView'];
export type AlertState = Schemas['AlertState'];
export type AlertTurn = Schemas['AlertTurn'];
export type Overview = Schemas['Overview'];
export type NodeCounts = Schemas['NodeCounts'];
export type Attention = Schemas['Attention'];
export type UptimePoint = Schemas['UptimePoint'];
export type MoneyOverview = Schemas['MoneyOverview'];
export type PootOverview = Schemas['PootOverview'];
export type Ranked = Schemas['Ranked'];
export type ScoreBin = Schemas['ScoreBin'];
export type PootFleet = Schemas['PootSummaryAnswer'];
export type PootHistoryPoint = Schemas['PootHistoryPoint'];
export type PootParams = Schemas['PootParams'];
export type HistoryRange = Schemas['HistoryRange'];
export type Epoch = Schemas['EpochView'];
export type EpochDocument = Schemas['EpochDocument'];
export type Pagination = Schemas['Pagination'];
export type Clock = Schemas['ClockView'];
export type SetupSteps = Schemas['SetupSteps'];
export type SetupStep = Schemas['Step'];
export type Space = Schemas['SpaceView'];
export type Wear = Schemas['WearView'];
/** A manager of an earlier release, behind a page that was not loaded anew, does not tell space and wear. */
export type StorageView = Omit<Schemas['StorageView'], 'space' | 'wear'> & { space?: Space; wear?: Wear };
export type Database = Schemas['DatabaseView'];
export type BackupList = Schemas['BackupList'];
export type Backup = Schemas['Backup'];
export type Archive = Schemas['Archive'];
export type Replication = Schemas['ReplicationView'];
export type ReplicatedCollection = Schemas['ReplicatedCollection'];
export type FleetManager = Schemas['FleetManager'];
export type FleetNode = Schemas['FleetNode'];
export type StorageCheck = Schemas['StorageCheck'];
export type Setting = Schemas['SettingView'];
export type SessionView = Schemas['SessionView'];
export type ApiToken = Schemas['ApiToken'];
export type EnrolmentRequest = Schemas['EnrolmentRequest'];
export type EnrolmentToken = Schemas['EnrolmentToken'];
export type AuditEntry = Schemas['EntryView'];
export type Anchor = Schemas['AnchorBody'];
export type Health = Schemas['Health'];
export type LicensedPackage = Schemas['LicensedPackage'];
export type HealthReport = Schemas['HealthReport'];

/** Routes below /api/v1. */
export type Routes = { [P in keyof paths as P extends `/api/v1${infer Route}` ? Route : never]: paths[P] };
/** Routes that answer the method. */
export type Having<M extends string> = { [P in keyof Routes]: Routes[P] extends Record<M, { responses: unknown }> ? P : never }[keyof Routes];
export type Operation<P extends keyof Routes, M extends string> = Routes[P] extends Record<M, infer O> ? O : never;

type Content<R> = R extends { content: { 'application/json': infer Body } } ? Body : undefined;
/** Body of the success: 200, else 201 or 202, else nothing. */
export type Answer<O> = O extends { responses: { 200: infer R } } ? Content<R> : O extends { responses: { 201: infer R } | { 202: infer R } } ? Content<R> : undefined;
export type Body<O> = O extends { requestBody: infer R } ? Content<R> : undefined;
export type QueryOf<O> = O extends { parameters: { query?: infer Q } } ? Q : undefined;

// Events of GET /events are no part of an OpenAPI document, so they are named here.
export type ReportEvent = Latest & { node_id: string; status: Status; proved?: number };
export type NodeEvent = { node_id: string; change: 'created' | 'updated' | 'deleted' | 'status' };
export type LiveEvents = {
  report: ReportEvent;
  node: NodeEvent;
  epoch: { epoch: number };
  payout: { payout_id: string };
  /** What holds for all payouts changed. */
  money: Record<string, never>;
  alert: { alert_id: string; kind: string; severity: Severity; subject: string; change: AlertTurn };
  /** Events were missed: reload what is shown. */
  reset: Record<string, never>;
};
