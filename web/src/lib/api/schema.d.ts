/**
 * Stand-in for the file that `npm run generate` makes from the OpenAPI snapshot; the generated file replaces it. Only
 * types.ts may import it.
 */
export type paths = Record<string, never>;

export interface components {
  schemas: {
    Pagination: { page: number; limit: number; total: number; pages: number; has_next: boolean; has_prev: boolean };
    FieldError: { field: string; message: string };
    ErrorBody: {
      error: {
        code: string;
        message: string;
        details?: { name?: string; fields?: components['schemas']['FieldError'][] };
        request_id?: string;
        timestamp?: string;
        service?: string;
        version?: string;
      };
    };
    Role: 'viewer' | 'operator' | 'admin' | 'super_admin';
    User: { id: string; username: string; role: components['schemas']['Role']; created_at: string };
    SetupState: { needed: boolean };
    SetupAnswer: { user: components['schemas']['User']; clock_confirmed: boolean };
    SetupRequest: { code: string; username: string; password: string; client_time?: string };
    LoginRequest: { username: string; password: string; totp?: string };
    LoginAnswer: { access_token: string; token_type: 'Bearer'; expires_in: number; user: components['schemas']['User'] };
    Me: { user: components['schemas']['User']; expires_at: string };
    Clock: { wall: string; trusted: boolean; why?: string | null; high_water?: string | null };
    EnrolmentTokenMade: { id: string; token: string; command: string; note?: string; expires_at: string };
    EnrolmentTokenRequest: { pool_id?: string; node_id?: string; uses?: number; expires_in_seconds?: number };

    Status: 'active' | 'inactive' | 'maintenance' | 'error' | 'starting' | 'stopping' | 'unreachable';
    PootState: 'pending' | 'valid' | 'invalid';
    Latest: {
      timestamp: string;
      cpu_usage_percent?: number | null;
      memory_used_bytes?: number | null;
      memory_total_bytes?: number | null;
      disk_used_bytes?: number | null;
      disk_total_bytes?: number | null;
      temperature_celsius?: number | null;
    };
    PootSummary: {
      state: components['schemas']['PootState'];
      score?: number | null;
      confidence: number;
      observed_seconds: number;
      required_seconds: number;
    };
    HardwareInfo: {
      cpu: { cores: number; frequency_mhz?: number | null; architecture?: string | null };
      memory: { total_bytes: number; type?: string | null };
      storage: { total_bytes: number; type?: string | null; interface?: string | null };
      gpu?: { model?: string | null; memory_bytes?: number | null; compute_capability?: string | null } | null;
      network: { interface: string; speed_mbps?: number | null; mac_address?: string | null }[];
    };
    Location: {
      country?: string | null;
      region?: string | null;
      city?: string | null;
      timezone?: string | null;
      coordinates?: { latitude: number; longitude: number } | null;
    };
    Node: {
      node_id: string;
      name: string;
      node_type: 'worker' | 'validator' | 'storage' | 'compute';
      status: components['schemas']['Status'];
      observed: string;
      wanted: string;
      eligible: string;
      pool_id?: string | null;
      pool_name?: string | null;
      hardware_info?: components['schemas']['HardwareInfo'] | null;
      location?: components['schemas']['Location'] | null;
      configuration?: Record<string, unknown> | null;
      enrolled: boolean;
      fingerprint_drift: boolean;
      last_heartbeat?: string | null;
      poot: components['schemas']['PootSummary'];
      accrued: string;
      payable: string;
      currency: string;
      settlement?: 'simulated' | 'live';
      created_at: string;
      updated_at: string;
      latest?: components['schemas']['Latest'] | null;
    };
    NodeList: { nodes: components['schemas']['Node'][]; pagination: components['schemas']['Pagination'] };
    Pricing: { cost_per_hour: string; reward_per_hour: string; currency: string };
    Pool: {
      pool_id: string;
      name: string;
      description?: string | null;
      node_count: number;
      max_nodes: number;
      pricing: components['schemas']['Pricing'];
      created_at: string;
      updated_at: string;
    };
    PoolList: { pools: components['schemas']['Pool'][]; pagination: components['schemas']['Pagination'] };

    CpuMetrics: {
      usage_percent?: number | null;
      cores?: number | null;
      frequency_mhz?: number | null;
      load_average?: number[] | null;
      temperature_celsius?: number | null;
    };
    MemoryMetrics: {
      total_bytes?: number | null;
      used_bytes?: number | null;
      free_bytes?: number | null;
      cached_bytes?: number | null;
      swap_total_bytes?: number | null;
      swap_used_bytes?: number | null;
    };
    DiskMetrics: {
      total_bytes?: number | null;
      used_bytes?: number | null;
      free_bytes?: number | null;
      read_iops?: number | null;
      write_iops?: number | null;
      read_throughput_mbps?: number | null;
      write_throughput_mbps?: number | null;
    };
    NetworkMetrics: {
      interfaces?: { name: string; bytes_in: number; bytes_out: number }[];
      total_bytes_in?: number | null;
      total_bytes_out?: number | null;
      packets_in?: number | null;
      packets_out?: number | null;
      errors_in?: number | null;
      errors_out?: number | null;
    };
    GpuMetrics: {
      usage_percent?: number | null;
      memory_used_bytes?: number | null;
      memory_total_bytes?: number | null;
      temperature_celsius?: number | null;
    };
    ResourceMetrics: {
      node_id?: string;
      timestamp: string;
      gap?: boolean;
      late?: boolean;
      cpu?: components['schemas']['CpuMetrics'] | null;
      memory?: components['schemas']['MemoryMetrics'] | null;
      disk?: components['schemas']['DiskMetrics'] | null;
      network?: components['schemas']['NetworkMetrics'] | null;
      gpu?: components['schemas']['GpuMetrics'] | null;
    };
    Resources: {
      node_id: string;
      current?: components['schemas']['ResourceMetrics'] | null;
      stale_since?: string | null;
      series?: components['schemas']['ResourceMetrics'][];
    };
    MetricSeries: {
      node_id: string;
      granularity: string;
      start_time: string;
      end_time: string;
      metrics: components['schemas']['ResourceMetrics'][];
    };

    SlotState: 'proven' | 'missed' | 'attested' | 'unobserved' | 'pending';
    Score: {
      node_id: string;
      score?: number | null;
      state: components['schemas']['PootState'];
      validation_status: components['schemas']['PootState'];
      confidence: number;
      calculated_at?: string | null;
      output_hash?: string | null;
      observed_seconds: number;
      required_seconds: number;
      proven_slots: number;
      observed_slots: number;
      factors: { uptime?: number | null; output?: number | null; stability?: number | null; resources?: number | null };
      multiplier: number | string;
      min_score: number;
      current_slot: { slot: number; proven: boolean; ends_at: string };
      recent_slots: { slot: number; state: components['schemas']['SlotState'] }[];
    };
    NodeEpoch: {
      epoch: number;
      start: string;
      end: string;
      state?: components['schemas']['PootState'] | null;
      score?: number | null;
      proven: number;
      observed: number;
      accrued: string;
    };
    NodeEpochList: { epochs: components['schemas']['NodeEpoch'][]; pagination: components['schemas']['Pagination'] };
    PayoutAddress: { address: string; currency: string; active_from: string; cooling_down: boolean; changed_at: string };
    Payout: {
      payout_id: string;
      node_id: string;
      amount: string;
      currency: string;
      wallet_address: string;
      status: string;
      settlement: 'simulated' | 'live';
      review_reason?: string | null;
      transaction_hash?: string | null;
      attempts: number;
      created_at: string;
      updated_at: string;
      completed_at?: string | null;
      error_message?: string | null;
    };
    PayoutList: { payouts: components['schemas']['Payout'][]; pagination: components['schemas']['Pagination'] };
  };
}
