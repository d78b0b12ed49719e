import { describe, expect, it } from 'vitest';
import type { PootSummary } from './api/types';
import { observedNow, pootText } from './poot';

const pending = (observed_seconds: number): PootSummary => ({ state: 'pending', score: null, confidence: 0, observed_seconds, required_seconds: 3600 });
const AT = 1_000_000_000;
const iso = (ms: number) => new Date(ms).toISOString();

describe('the countdown of a pending node', () => {
  it('grows while the node is heard', () => {
    expect(observedNow(pending(600), AT, iso(AT), AT)).toBe(600);
    expect(observedNow(pending(600), AT, iso(AT + 20_000), AT + 25_000)).toBe(625);
  });

  it('stops one slot after the last report, and never runs back', () => {
    expect(observedNow(pending(600), AT, iso(AT), AT + 500_000)).toBe(630);
    expect(observedNow(pending(600), AT, iso(AT - 900_000), AT + 60_000)).toBe(600);
    expect(observedNow(pending(600), AT, iso(AT), AT - 60_000)).toBe(600);
  });

  it('never passes what is required by itself, and keeps what the manager said', () => {
    expect(observedNow(pending(3590), AT, iso(AT + 90_000), AT + 90_000)).toBe(3600);
    expect(observedNow(pending(3700), AT, iso(AT), AT + 10_000)).toBe(3700);
    expect(observedNow(pending(0), AT, null, AT + 90_000)).toBe(0);
  });

  it('is worded', () => {
    expect(pootText(pending(754), 754)).toBe('pending 12:34 of 1 h');
    expect(pootText(pending(3600), 3600)).toBe('pending, score due');
    expect(pootText({ ...pending(9999), state: 'valid', score: 98.4 }, 0)).toBe('98.40');
    expect(pootText({ ...pending(9999), state: 'invalid', score: null }, 0)).toBe('no score');
  });
});
