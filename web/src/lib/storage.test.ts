import { expect, test } from 'vitest';
import { bytes } from './format';
import { compacted, dayWords, levelWords, lifeLeft, milliseconds, phaseWords, restoreCommand, shares, UNKNOWN, WEAR_DAYS, wearDays } from './storage';

const MIB = 2 ** 20;

test('milliseconds', () => {
  expect(milliseconds(0.42)).toBe('0.4 ms');
  expect(milliseconds(12.4)).toBe('12 ms');
  expect(milliseconds(999.4)).toBe('999 ms');
  expect(milliseconds(1_340)).toBe('1.3 s');
});

test('levels say what the manager does, and one of a later manager its name', () => {
  expect(levelWords('ample')).toMatchObject({ kind: 'ok', text: '' });
  expect(levelWords('high').text).toContain('weeks of measurements');
  expect(levelWords('critical').text).toContain('Money and the audit log');
  expect(levelWords('new' as 'ample')).toMatchObject({ kind: 'warn', title: 'new' });
});

test('the disk is shared between the store, the rest and what is free', () => {
  expect(shares(100, 200, 40)).toEqual([20, 30]);
  // What a file takes on the disk and its length are not counted at the same moment.
  expect(shares(20, 200, 40)).toEqual([10, 0]);
  expect(shares(0, 0, 0)).toEqual([0, 0]);
});

test('days of wear: thirty, with gaps, the last of them not over', () => {
  const now = Date.parse('2026-11-22T23:59:00Z');
  const files = [{ name: 'hot.redb', bytes: 2 * MIB }, { name: 'core.redb', bytes: MIB }];
  const days = wearDays({ days: [{ day: '2026-11-22', bytes: 3 * MIB, files }, { day: '2026-10-24', bytes: 7, files: [] }, { day: '2026-10-23', bytes: 9, files: [] }] }, now);
  expect(days).toHaveLength(WEAR_DAYS);
  expect(days[0]).toMatchObject({ day: '2026-10-24', bytes: 7, today: false });
  expect(days.filter((day) => day.bytes === null)).toHaveLength(WEAR_DAYS - 2);
  expect(days.filter((day) => day.today).map((day) => day.day)).toEqual(['2026-11-22']);
  expect(days.map(dayWords).filter((words) => words !== 'not counted')).toEqual(['7 B', '3.0 MiB so far: hot.redb 2.0 MiB, core.redb 1.0 MiB']);
});

test('life left is rounded down, and unknown is unknown', () => {
  expect([null, undefined, Infinity, NaN].map(lifeLeft)).toEqual([UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]);
  expect([250, 99.9, 2, 1.99, 0.1, 0.05, 0].map(lifeLeft)).toEqual([
    'more than 100 years',
    'about 99 years',
    'about 2 years',
    'about 23 months',
    'about 1 month',
    'less than a month',
    'less than a month',
  ]);
});

test('what a compaction or a backup does, and what became of the last one', () => {
  expect(phaseWords('idle')).toBe('');
  expect(phaseWords(null)).toBe(phaseWords('waiting'));
  expect(phaseWords('polishing' as 'copying')).toBe('polishing');
  const last = { ended_at: '2026-11-21T02:10:00Z', before_bytes: 300 * MIB, after_bytes: 90 * MIB, barrier_ms: 12 };
  const at = { phase: 'idle' as const, rows: 0, all_rows: 0 };
  expect(compacted(at)).toBe('none since the start');
  expect(compacted({ ...at, last })).toContain(`${bytes(300 * MIB)} to ${bytes(90 * MIB)}`);
  expect(compacted({ ...at, last: { ...last, failed_because: 'there is no room' } })).toMatch(/not done: there is no room$/);
});

test('the restore command can be pasted whatever the folders are called', () => {
  expect(restoreCommand('/mnt/usb/', '2026-11-22T03-30-00Z', '/var/lib/lucid')).toBe('lucid-node-management restore --from /mnt/usb/2026-11-22T03-30-00Z --data-dir /var/lib/lucid');
  expect(restoreCommand("/mnt/Ada's disk", 'b', '/d')).toBe(`lucid-node-management restore --from '/mnt/Ada'\\''s disk/b' --data-dir /d`);
});
