// Every request of the pages goes through here: typed, timed out, and with one shape of error.
import { noteServerDate } from '../time.svelte';
import type {
  Clock,
  EnrolmentTokenMade,
  EnrolmentTokenRequest,
  ErrorBody,
  LoginAnswer,
  LoginRequest,
  Me,
  MetricSeries,
  Node,
  NodeEpochList,
  NodeList,
  PayoutAddress,
  PayoutList,
  PoolList,
  Resources,
  Score,
  SetupAnswer,
  SetupRequest,
  SetupState,
} from './types';

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

type Query = Record<string, string | number | undefined | null>;
type Options = { query?: Query; body?: unknown; signal?: AbortSignal | undefined };

/** Called whenever an answer says that nobody is signed in; the session decides what to show. */
let onSignedOut: () => void = () => {};
export function watchSession(watcher: () => void): void {
  onSignedOut = watcher;
}

async function exchange(method: string, path: string, { query, body, signal }: Options): Promise<Response> {
  const url = new URL(BASE + path, location.origin);
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(key, String(value));
  }
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const init: RequestInit = { method, credentials: 'same-origin', signal: signal ? AbortSignal.any([signal, timeout]) : timeout };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { 'Content-Type': 'application/json' };
  }
  const sentAt = Date.now();
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError('The manager cannot be reached.', 0, 'Unreachable');
  }
  noteServerDate(response.headers.get('date'), sentAt, Date.now());
  if (response.ok) return response;
  throw await refusal(response);
}

async function refusal(response: Response): Promise<ApiError> {
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
  if (signedOut) onSignedOut();
  return error;
}

async function json<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await exchange(method, path, options);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return json<T>('GET', path, { ...(query && { query }), signal });
}

/** Changes on their way. A second click while the first is unanswered gets the first one's answer. */
const inFlight = new Map<string, Promise<unknown>>();

function once<T>(method: string, path: string, body: unknown, run: () => Promise<T>): Promise<T> {
  const key = `${method} ${path} ${JSON.stringify(body)}`;
  const running = inFlight.get(key);
  if (running) return running as Promise<T>;
  const started = run().finally(() => inFlight.delete(key));
  inFlight.set(key, started);
  return started;
}

function send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T> {
  return once(method, path, body, () => json<T>(method, path, { body }));
}

const id = encodeURIComponent;

export type NodeQuery = {
  page?: number;
  limit?: number;
  status?: string;
  pool_id?: string;
  sort?: string;
  order?: 'asc' | 'desc';
  search?: string;
};

export const api = {
  setupState: (signal?: AbortSignal) => get<SetupState>('/setup', undefined, signal),
  setUp: (body: SetupRequest) => send<SetupAnswer>('POST', '/setup', body),
  signIn: (body: LoginRequest) => send<LoginAnswer>('POST', '/auth/login', body),
  signOut: () => send<void>('POST', '/auth/logout'),
  me: (signal?: AbortSignal) => get<Me>('/auth/me', undefined, signal),

  clock: (signal?: AbortSignal) => get<Clock>('/clock', undefined, signal),
  confirmClock: (clientTime: string) => send<{ trusted: boolean }>('POST', '/clock/confirm', { client_time: clientTime }),
  /** The kit as the manager made it, to be saved byte by byte. */
  recoveryKit: (passphrase: string, password: string) =>
    once('POST', '/recovery-kit', null, async () => {
      const response = await exchange('POST', '/recovery-kit', { body: { passphrase, password } });
      const name = /filename="([^"/]+)"/.exec(response.headers.get('content-disposition') ?? '')?.[1];
      return { kit: await response.blob(), name: name ?? 'lucid-recovery-kit.json' };
    }),

  nodes: (query: NodeQuery, signal?: AbortSignal) => get<NodeList>('/nodes', query, signal),
  node: (nodeId: string, signal?: AbortSignal) => get<Node>(`/nodes/${id(nodeId)}`, undefined, signal),
  pools: (signal?: AbortSignal) => get<PoolList>('/nodes/pools', { limit: PAGE_LIMIT }, signal),
  makeEnrolmentToken: (body: EnrolmentTokenRequest) => send<EnrolmentTokenMade>('POST', '/enrolment-tokens', body),

  resources: (nodeId: string, signal?: AbortSignal) => get<Resources>(`/nodes/${id(nodeId)}/resources`, undefined, signal),
  metrics: (nodeId: string, query: { granularity: string; start_time: string; end_time: string }, signal?: AbortSignal) =>
    get<MetricSeries>(`/nodes/${id(nodeId)}/resources/metrics`, query, signal),

  score: (nodeId: string, signal?: AbortSignal) => get<Score>(`/nodes/${id(nodeId)}/poot/score`, undefined, signal),
  epochs: (nodeId: string, limit: number, signal?: AbortSignal) =>
    get<NodeEpochList>(`/nodes/${id(nodeId)}/poot/history`, { limit }, signal),

  payouts: (nodeId: string, limit: number, signal?: AbortSignal) =>
    get<PayoutList>(`/nodes/${id(nodeId)}/payouts`, { limit }, signal),
  payoutAddress: (nodeId: string, signal?: AbortSignal) =>
    get<PayoutAddress>(`/nodes/${id(nodeId)}/payout-address`, undefined, signal),
  setPayoutAddress: (nodeId: string, address: string) =>
    send<PayoutAddress>('PUT', `/nodes/${id(nodeId)}/payout-address`, { address }),
};
