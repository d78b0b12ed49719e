// Every request of the pages goes through here: typed, timed out, and with one shape of error.
import { noteServerDate } from '../time.svelte';
import type { AllocateRequest, Anchor, Answer, Body, Database, ErrorBody, GoingLive, Having, HealthReport, MaintenanceRequest, NodeAction, NodeCommand, Operation, PoolRequest, QueryOf, Routes, ScheduleRequest, SetupStep, SetupSteps, StorageView, ThresholdsRequest } from './types';

const BASE = '/api/v1';
const TIMEOUT_MS = 20_000;
/** The longest page the API gives. */
export const PAGE_LIMIT = 100;

export class ApiError extends Error {
  constructor(
    message: string,
    /** HTTP status; 0 when the manager could not be reached. */
    readonly status: number,
    /** Stable name of the refusal, such as `NodeNotFound`. */
    readonly refusal: string,
    readonly fields: Readonly<Record<string, string>> = {},
    readonly requestId: string | null = null,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
  }

  get unreachable(): boolean {
    return this.status === 0;
  }
}

export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(error instanceof Error ? error.message : String(error), -1, 'Unexpected');
}

/** What a request says beside its method and route. `id` fills the `{…}` of the route, in their order. */
type Options<Q, B> = { id?: string | readonly string[]; query?: Q; body?: B; signal?: AbortSignal | undefined; /** Makes a repetition harmless. */ key?: string };

/** Called whenever an answer says that nobody is signed in; the session decides what to show. */
let onSignedOut: () => void = () => {};
/** Counts sign-ins: what was asked before the last one says nothing of the session there is now. */
let signIns = 0;
export function signedIn(): void {
  signIns += 1;
}

export function watchSession(watcher: () => void): void {
  onSignedOut = watcher;
}

/** Called whenever a change is about to be sent again because its line broke. */
let onLost: () => void = () => {};
export function watchLine(watcher: () => void): void {
  onLost = watcher;
}

/** Asked for when a change wants a fresh factor; true when one was given. */
let askFactor: () => Promise<boolean> = async () => false;
export function watchFactor(ask: () => Promise<boolean>): void {
  askFactor = ask;
}

async function exchange(method: string, route: keyof Routes, { id = '', query, body, signal, key }: Options<unknown, unknown>): Promise<Response> {
  const ids = [id].flat();
  const url = new URL(BASE + route.replace(/\{\w+\}/g, () => encodeURIComponent(ids.shift() ?? '')), location.origin);
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(key, String(value));
  }
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const init: RequestInit = { method, credentials: 'same-origin', signal: signal ? AbortSignal.any([signal, timeout]) : timeout };
  const headers: Record<string, string> = {};
  if (key) headers['Idempotency-Key'] = key;
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    headers['Content-Type'] = 'application/json';
  }
  init.headers = headers;
  const sentAt = Date.now();
  const asked = signIns;
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError('The manager cannot be reached.', 0, 'Unreachable');
  }
  noteServerDate(response.headers.get('date'), sentAt, Date.now());
  if (response.ok) return response;
  throw await refusal(response, asked);
}

async function refusal(response: Response, asked: number): Promise<ApiError> {
  const text = await response.text().catch(() => '');
  let body: Partial<ErrorBody> = {};
  try {
    body = JSON.parse(text) as Partial<ErrorBody>;
  } catch {
    // Something between browser and manager answered; its text is not for people.
  }
  const fields: Record<string, string> = {};
  for (const { field, message } of body.error?.details?.fields ?? []) fields[field] ??= message;
  const retryAfter = Number(response.headers.get('retry-after') ?? NaN);
  const error = new ApiError(
    body.error?.message ?? `The manager answered with status ${response.status}.`,
    response.status,
    body.error?.details?.name ?? '',
    fields,
    body.error?.request_id ?? response.headers.get('x-request-id'),
    Number.isFinite(retryAfter) ? retryAfter : null,
  );
  const signedOut = response.status === 401 && error.refusal !== 'WrongCredentials';
  if (signedOut && asked === signIns) onSignedOut();
  return error;
}

async function json(method: string, route: keyof Routes, options: Options<unknown, unknown>): Promise<unknown> {
  const response = await exchange(method, route, options);
  return response.status === 204 ? undefined : await response.json();
}

type Get<P extends keyof Routes> = Operation<P, 'get'>;

function get<P extends Having<'get'>>(route: P, options: Options<QueryOf<Get<P>>, never> = {}): Promise<Answer<Get<P>>> {
  return json('GET', route, options) as Promise<Answer<Get<P>>>;
}

/** Changes on their way. A second click while the first is unanswered gets the first one's answer. */
const inFlight = new Map<string, Promise<unknown>>();
/** Keys of changes whose answer was lost: the same change, sent again later, is still the same. */
const unanswered = new Map<string, string>();
/** Waits before a change whose line broke is sent again, under its key. */
const AGAIN_MS = [1_000, 3_000];
const MOST_UNANSWERED = 50;
/** Asked before anybody is signed in, where the manager keeps no keys. */
const UNKEYED = / \/(setup|auth\/login) /;

/** 128 random bits; `crypto.randomUUID` is missing on plain HTTP. */
const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

function once<T>(method: string, route: string, options: unknown, run: (key: string) => Promise<T>): Promise<T> {
  const what = `${method} ${route} ${JSON.stringify(options)}`;
  const running = inFlight.get(what);
  if (running) return running as Promise<T>;
  const started = repeated(what, run).finally(() => inFlight.delete(what));
  inFlight.set(what, started);
  return started;
}

async function repeated<T>(what: string, run: (key: string) => Promise<T>): Promise<T> {
  const key = unanswered.get(what) ?? newKey();
  if (unanswered.size > MOST_UNANSWERED) unanswered.clear();
  unanswered.set(what, key);
  for (let tries = 0; ; tries += 1) {
    try {
      const answer = await run(key);
      unanswered.delete(what);
      return answer;
    } catch (error) {
      const lost = error instanceof ApiError && error.unreachable;
      if (!lost) unanswered.delete(what);
      const wait = AGAIN_MS[tries];
      if (!lost || wait === undefined || UNKEYED.test(what)) throw error;
      onLost();
      await new Promise((done) => setTimeout(done, wait));
    }
  }
}

type Change = 'POST' | 'PUT' | 'DELETE';

function send<M extends Change, P extends Having<Lowercase<M>>>(
  method: M,
  route: P,
  options: Options<QueryOf<Operation<P, Lowercase<M>>>, Body<Operation<P, Lowercase<M>>>> = {},
): Promise<Answer<Operation<P, Lowercase<M>>>> {
  const run = (key: string) => json(method, route, { ...options, key }) as Promise<Answer<Operation<P, Lowercase<M>>>>;
  return once(method, route, options, (key) => run(key).catch(async (error: unknown) => {
    if (!wantsFactor(error, route, options.body)) throw error;
    if (await askFactor()) return run(newKey());
    throw new ApiError('nothing was changed: it was not confirmed that it is you', 403, 'NotConfirmed');
  }));
}

/** A form that has one's own password in it says itself that it was wrong. */
function wantsFactor(error: unknown, route: string, body: unknown): boolean {
  const own = typeof body === 'object' && body !== null && ('password' in body || 'totp' in body) && (!route.startsWith('/users') || 'current_password' in body);
  return error instanceof ApiError && error.refusal === 'FreshFactorNeeded' && !own;
}

export type NodeQuery = QueryOf<Get<'/nodes'>>;

/** The proof document of an epoch as a file. */
export const epochProofPath = (epoch: number): string => `${BASE}/poot/epochs/${epoch}?download=true`;

/** Everything that is held of a person, as a file. */
export const personExportPath = (id: string): string => `${BASE}/privacy/export/${encodeURIComponent(id)}`;
/** The audit log as a file, oldest entry first. `query` filters it as the page does. */
export const auditExportPath = (format: 'csv' | 'jsonl', query: string): string => `${BASE}/audit/export?format=${format}&${query}`;

/** A file of an archive. */
export const archivePath = (name: string): string => `${BASE}/archives/${encodeURIComponent(name)}`;

/** The statements of a month as a file. */
export const statementsPath = (month: string): string => `${BASE}/ledger/statements?format=csv&month=${month}`;

/** Of a node or of a pool. */
const thresholdsOf = (id: string) => (id.startsWith('pool_') ? '/nodes/pools/{pool_id}/thresholds' : '/nodes/{id}/resources/thresholds');

/** One entry for each thing the pages ask or change. */
export const api = {
  setupState: (signal?: AbortSignal) => get('/setup', { signal }),
  setUp: (body: Body<Operation<'/setup', 'post'>>) => send('POST', '/setup', { body }),
  signIn: (body: Body<Operation<'/auth/login', 'post'>>) => send('POST', '/auth/login', { body }),
  signOut: () => send('POST', '/auth/logout'),
  me: (signal?: AbortSignal) => get('/auth/me', { signal }),
  confirm: (body: Body<Operation<'/auth/confirm', 'post'>>) => send('POST', '/auth/confirm', { body }),
  beginTotp: (password: string) => send('POST', '/auth/totp/begin', { body: { password } }),
  enableTotp: (code: string) => send('POST', '/auth/totp/enable', { body: { code } }),
  disableTotp: (password: string, totp: string) => send('POST', '/auth/totp/disable', { body: { password, totp } }),
  newRecoveryCodes: (totp: string) => send('POST', '/auth/recovery-codes', { body: { totp } }),

  setupSteps: (signal?: AbortSignal) => get('/setup/steps', { signal }),
  markStep: (step: SetupStep, state: SetupSteps['steps'][number]['state']) => send('PUT', '/setup/steps/{step}', { id: step, body: { state } }),
  storage: (signal?: AbortSignal): Promise<StorageView> => get('/storage', { signal }),
  checkStorage: () => send('POST', '/storage/check'),
  compact: (file: Database['file']) => send('POST', '/storage/compact', { body: { file } }),
  backups: (page: number, signal?: AbortSignal) => get('/backup', { query: { page, limit: PAGE_LIMIT }, signal }),
  backUp: () => send('POST', '/backup'),
  replication: (signal?: AbortSignal) => get('/replication', { signal }),
  pauseReplication: () => send('POST', '/replication/pause'),
  resumeReplication: (take_over = false) => send('POST', '/replication/resume', { body: { take_over } }),
  resync: (collection: string) => send('POST', '/replication/resync', { body: { collection } }),
  fleetSummary: (signal?: AbortSignal) => get('/fleet/summary', { signal }),
  fleetManagers: (query: QueryOf<Get<'/fleet/managers'>>, signal?: AbortSignal) => get('/fleet/managers', { query, signal }),
  fleetNodes: (query: QueryOf<Get<'/fleet/nodes'>>, signal?: AbortSignal) => get('/fleet/nodes', { query, signal }),
  archives: (page: number, signal?: AbortSignal) => get('/archives', { query: { page, limit: PAGE_LIMIT }, signal }),
  settings: (signal?: AbortSignal) => get('/settings', { signal }),
  changeSetting: (key: string, value: string) => send('PUT', '/settings', { body: [{ key, value }] }),
  resetSetting: (key: string) => send('DELETE', '/settings/{key}', { id: key }),
  audit: (query: QueryOf<Get<'/audit'>>, signal?: AbortSignal) => get('/audit', { query, signal }),
  verifyAudit: () => get('/audit/verify'),
  auditAnchor: () => get('/audit/anchor'),
  checkAnchor: (body: Anchor) => send('POST', '/audit/anchor/check', { body }),
  sessions: (signal?: AbortSignal) => get('/sessions', { signal }),
  endSession: (id: string) => send('DELETE', '/sessions/{id}', { id }),
  endOtherSessions: () => send('POST', '/sessions/end-others'),
  users: (page: number, signal?: AbortSignal) => get('/users', { query: { page, limit: PAGE_LIMIT }, signal }),
  addUser: (body: Body<Operation<'/users', 'post'>>) => send('POST', '/users', { body }),
  changeUser: (id: string, body: Body<Operation<'/users/{id}', 'put'>>) => send('PUT', '/users/{id}', { id, body }),
  deleteUser: (id: string) => send('DELETE', '/users/{id}', { id }),
  userSessions: (id: string, signal?: AbortSignal) => get('/users/{id}/sessions', { id, signal }),
  endUserSession: (id: string, session: string) => send('DELETE', '/users/{id}/sessions/{session_id}', { id: [id, session] }),
  erasePerson: (id: string, reason: string) => send('POST', '/privacy/erase/{user_id}', { id, body: { reason } }),
  resetTotp: (id: string) => send('POST', '/users/{id}/totp/reset', { id }),
  tokens: (page: number, signal?: AbortSignal) => get('/tokens', { query: { page, limit: PAGE_LIMIT }, signal }),
  makeToken: (body: Body<Operation<'/tokens', 'post'>>) => send('POST', '/tokens', { body }),
  revokeToken: (id: string) => send('DELETE', '/tokens/{id}', { id }),
  enrolmentRequests: (page: number, signal?: AbortSignal) => get('/enrolment-requests', { query: { page, limit: PAGE_LIMIT }, signal }),
  approveEnrolment: (id: string) => send('POST', '/enrolment-requests/{id}/approve', { id }),
  rejectEnrolment: (id: string) => send('POST', '/enrolment-requests/{id}/reject', { id }),
  enrolmentTokens: (page: number, limit: number, signal?: AbortSignal) => get('/enrolment-tokens', { query: { page, limit }, signal }),
  revokeEnrolmentToken: (id: string) => send('DELETE', '/enrolment-tokens/{id}', { id }),
  changePool: (id: string, body: Body<Operation<'/nodes/pools/{pool_id}', 'put'>>) => send('PUT', '/nodes/pools/{pool_id}', { id, body }),
  /** Answers the same when the manager is unhealthy, with another status. */
  health: async (signal?: AbortSignal): Promise<HealthReport> => {
    const response = await fetch('/health', { signal: signal ?? null }).catch(() => undefined);
    if (response?.status !== 200 && response?.status !== 503) throw new ApiError('The manager cannot be reached.', 0, 'Unreachable');
    return (await response.json()) as HealthReport;
  },
  about: (signal?: AbortSignal) => get('/about', { signal }),
  licences: (signal?: AbortSignal) => get('/licences', { signal }),

  clock: (signal?: AbortSignal) => get('/clock', { signal }),
  confirmClock: (clientTime: string) => send('POST', '/clock/confirm', { body: { client_time: clientTime } }),
  acceptClock: () => send('POST', '/clock/accept'),
  /** The kit as the manager made it, to be saved byte by byte. */
  recoveryKit: (passphrase: string, password: string) =>
    once('POST', '/recovery-kit', null, async () => {
      const body: Body<Operation<'/recovery-kit', 'post'>> = { passphrase, password };
      const response = await exchange('POST', '/recovery-kit', { body });
      const name = /filename="([^"/]+)"/.exec(response.headers.get('content-disposition') ?? '')?.[1];
      return { kit: await response.blob(), name: name ?? 'lucid-recovery-kit.json' };
    }),

  overview: (signal?: AbortSignal) => get('/overview', { signal }),
  alerts: (query: QueryOf<Get<'/alerts'>>, signal?: AbortSignal) => get('/alerts', { query, signal }),
  alert: (id: string, signal?: AbortSignal) => get('/alerts/{id}', { id, signal }),
  acknowledge: (id: string, note: string) => send('POST', '/alerts/{id}/acknowledge', { id, body: { note: note || null } }),
  fleetScores: (query: QueryOf<Get<'/poot/summary'>>, signal?: AbortSignal) => get('/poot/summary', { query, signal }),
  leaderboard: (query: QueryOf<Get<'/poot/leaderboard'>>, signal?: AbortSignal) => get('/poot/leaderboard', { query, signal }),
  closeEpoch: () => send('POST', '/poot/calculate'),
  closedEpochs: (query: QueryOf<Get<'/poot/epochs'>>, signal?: AbortSignal) => get('/poot/epochs', { query, signal }),
  closedEpoch: (epoch: number, signal?: AbortSignal) => get('/poot/epochs/{epoch}', { id: String(epoch), signal }),
  managerKey: (signal?: AbortSignal) => get('/poot/manager-key', { signal }),

  nodes: (query: NodeQuery, signal?: AbortSignal) => get('/nodes', { query, signal }),
  node: (id: string, signal?: AbortSignal) => get('/nodes/{id}', { id, signal }),
  updateNode: (id: string, body: Body<Operation<'/nodes/{id}', 'put'>>) => send('PUT', '/nodes/{id}', { id, body }),
  /** Answers with the node where it leaves with its final payout, with nothing where it is gone. */
  deleteNode: (id: string, query: QueryOf<Operation<'/nodes/{id}', 'delete'>>) => send('DELETE', '/nodes/{id}', { id, query }),
  cancelFinalPayout: (id: string) => send('DELETE', '/nodes/{id}/final-payout', { id }),
  suspension: (id: string, verb: 'suspend' | 'unsuspend' | 'appeal', why: string) =>
    send('POST', `/nodes/{id}/${verb}` as '/nodes/{id}/suspend', { id, body: (verb === 'appeal' ? { text: why } : { reason: why }) as { reason: string } }),
  maintenance: (id: string, limit: number, signal?: AbortSignal) => get('/nodes/{id}/maintenance', { id, query: { limit }, signal }),
  planMaintenance: (id: string, body: MaintenanceRequest) => send('POST', '/nodes/{id}/maintenance', { id, body }),
  endMaintenance: (id: string, number: number) => send('DELETE', '/nodes/{id}/maintenance/{number}', { id: [id, String(number)] }),
  nodeHistory: (id: string, query: QueryOf<Get<'/nodes/{id}/history'>>, signal?: AbortSignal) => get('/nodes/{id}/history', { id, query, signal }),
  command: (id: string, action: NodeCommand['action']) => send('POST', `/nodes/{id}/${action}` as '/nodes/{id}/start', { id }),
  commands: (id: string, limit: number, signal?: AbortSignal) => get('/nodes/{id}/commands', { id, query: { limit }, signal }),
  thresholds: (id: string, signal?: AbortSignal) => get(thresholdsOf(id), { id, signal }),
  setThresholds: (id: string, body: ThresholdsRequest) => send('PUT', thresholdsOf(id), { id, body }),
  allocations: (id: string, signal?: AbortSignal) => get('/nodes/{id}/resources/allocations', { id, signal }),
  allocate: (id: string, body: AllocateRequest) => send('POST', '/nodes/{id}/resources/allocate', { id, body }),
  release: (id: string, allocation: string) => send('DELETE', '/nodes/{id}/resources/allocations/{allocation_id}', { id: [id, allocation] }),
  uptime: (id: string, signal?: AbortSignal) => get('/nodes/{id}/poot/uptime', { id, signal }),
  acceptFingerprint: (id: string) => send('POST', '/nodes/{id}/fingerprint/accept', { id }),
  actOnNodes: (action: NodeAction, ids: string[]) => send('POST', '/nodes/actions', { body: { action, node_ids: ids } }),
  pools: (signal?: AbortSignal) => get('/nodes/pools', { query: { limit: PAGE_LIMIT }, signal }),
  poolPage: (page: number, signal?: AbortSignal) => get('/nodes/pools', { query: { page, limit: PAGE_LIMIT }, signal }),
  pool: (id: string, signal?: AbortSignal) => get('/nodes/pools/{pool_id}', { id, signal }),
  poolScores: (id: string, signal?: AbortSignal) => get('/pools/{pool_id}/poot', { id, signal }),
  makePool: (body: PoolRequest) => send('POST', '/nodes/pools', { body }),
  deletePool: (id: string) => send('DELETE', '/nodes/pools/{pool_id}', { id }),
  joinPool: (id: string, nodeId: string) => send('POST', '/nodes/pools/{pool_id}/nodes', { id, body: { node_id: nodeId } }),
  leavePool: (id: string, nodeId: string) => send('DELETE', '/nodes/pools/{pool_id}/nodes/{node_id}', { id: [id, nodeId] }),
  poolMetrics: (id: string, query: QueryOf<Get<'/nodes/pools/{pool_id}/resources/metrics'>>, signal?: AbortSignal) =>
    get('/nodes/pools/{pool_id}/resources/metrics', { id, query, signal }),
  makeEnrolmentToken: (body: Body<Operation<'/enrolment-tokens', 'post'>>) => send('POST', '/enrolment-tokens', { body }),

  resources: (id: string, signal?: AbortSignal) => get('/nodes/{id}/resources', { id, signal }),
  metrics: (id: string, query: QueryOf<Get<'/nodes/{id}/resources/metrics'>>, signal?: AbortSignal) =>
    get('/nodes/{id}/resources/metrics', { id, query, signal }),

  score: (id: string, signal?: AbortSignal) => get('/nodes/{id}/poot/score', { id, signal }),
  epochs: (id: string, query: QueryOf<Get<'/nodes/{id}/poot/history'>>, signal?: AbortSignal) => get('/nodes/{id}/poot/history', { id, query, signal }),

  payouts: (id: string, limit: number, signal?: AbortSignal) => get('/nodes/{id}/payouts', { id, query: { limit }, signal }),
  allPayouts: (query: QueryOf<Get<'/nodes/payouts/history'>>, signal?: AbortSignal) => get('/nodes/payouts/history', { query, signal }),
  payout: (id: string, signal?: AbortSignal) => get('/nodes/payouts/{payout_id}', { id, signal }),
  decide: (id: string, body: Body<Operation<'/nodes/payouts/{payout_id}/decide', 'post'>>) => send('POST', '/nodes/payouts/{payout_id}/decide', { id, body }),
  holdPayout: (id: string, reason: string) => send('POST', '/nodes/payouts/{payout_id}/hold', { id, body: { reason } }),
  approvals: (signal?: AbortSignal) => get('/payouts/approvals', { signal }),
  approve: (digest: string) => send('POST', '/payouts/approvals', { body: { digest } }),
  money: (signal?: AbortSignal) => get('/money', { signal }),
  changeMoney: (act: 'freeze' | 'unfreeze' | 'stop' | 'resume', reason: string) => send('POST', `/money/${act}` as '/money/freeze', { body: { reason } }),
  setTrxRate: (usdt: string) => send('PUT', '/money/trx-rate', { body: { usdt } }),
  goLive: (body: GoingLive) => send('POST', '/money/live', { body }),
  reconcile: () => send('POST', '/money/reconcile'),
  unknownTransfers: (signal?: AbortSignal) => get('/money/unknown-transfers', { signal }),
  bookTransfer: (txid: string, nodeId: string) => send('POST', '/money/unknown-transfers/{txid}/book', { id: txid, body: { node_id: nodeId || null } }),
  wallet: (signal?: AbortSignal) => get('/wallet', { signal }),
  unlockWallet: (passphrase: string) => send('POST', '/wallet/unlock', { body: { passphrase } }),
  lockWallet: () => send('POST', '/wallet/lock'),
  previewPayouts: (body: Body<Operation<'/payouts/preview', 'post'>>) => send('POST', '/payouts/preview', { body }),
  batches: (page: number, limit: number, signal?: AbortSignal) => get('/nodes/payouts/batches', { query: { page, limit }, signal }),
  batch: (id: string, query: QueryOf<Get<'/nodes/payouts/batches/{batch_id}'>>, signal?: AbortSignal) => get('/nodes/payouts/batches/{batch_id}', { id, query, signal }),
  makeBatch: (body: Body<Operation<'/nodes/payouts/batch', 'post'>>) => send('POST', '/nodes/payouts/batch', { body }),
  cancelBatch: (id: string) => send('POST', '/nodes/payouts/batches/{batch_id}/cancel', { id }),
  schedules: (page: number, signal?: AbortSignal) => get('/nodes/payouts/schedule', { query: { page, limit: PAGE_LIMIT }, signal }),
  /** Makes one, or changes the one of the id: `body` is the whole of it. */
  setSchedule: (body: ScheduleRequest, id?: string) => (id ? send('PUT', '/nodes/payouts/schedule/{schedule_id}', { id, body }) : send('POST', '/nodes/payouts/schedule', { body })),
  deleteSchedule: (id: string) => send('DELETE', '/nodes/payouts/schedule/{schedule_id}', { id }),
  processPayouts: () => send('POST', '/payouts/process'),
  ledger: (query: QueryOf<Get<'/ledger'>>, signal?: AbortSignal) => get('/ledger', { query, signal }),
  balances: (signal?: AbortSignal) => get('/ledger/balances', { signal }),
  statements: (month: string, signal?: AbortSignal) => get('/ledger/statements', { query: { month, limit: PAGE_LIMIT }, signal }),
  nodeStatements: (id: string, signal?: AbortSignal) => get('/nodes/{id}/statements', { id, query: { limit: 12 }, signal }),
  checkLedger: () => send('POST', '/ledger/check'),
  adjust: (body: Body<Operation<'/ledger/adjustments', 'post'>>) => send('POST', '/ledger/adjustments', { body }),
  reward: (id: string, body: Body<Operation<'/pools/{id}/rewards', 'post'>>) => send('POST', '/pools/{id}/rewards', { id, body }),
  payoutAddress: (id: string, signal?: AbortSignal) => get('/nodes/{id}/payout-address', { id, signal }),
  setPayoutAddress: (id: string, address: string) => send('PUT', '/nodes/{id}/payout-address', { id, body: { address } }),
};
