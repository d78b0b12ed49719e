import { expect, it } from 'vitest';
import { beginsOf, isAhead, minutesText, periodLook, requestOf, spansOf } from './maintenance';

const NOW = Date.parse('2026-11-21T10:00:00Z');

it('asks for now, for in an hour, or for a time of the browser', () => {
  expect(requestOf('soon', '', '120', NOW)).toEqual({ body: { duration_minutes: 120 } });
  expect(requestOf('hour', '', '1', NOW)).toEqual({ body: { duration_minutes: 1, from: '2026-11-21T11:00:00.000Z' } });
  const local = '2026-11-22T02:30';
  expect(requestOf('at', local, '480', NOW)).toEqual({ body: { duration_minutes: 480, from: new Date(local).toISOString() } });
});

it('says what is wrong beside its field, and sends nothing', () => {
  expect(requestOf('at', '', '0', NOW)).toEqual({ wrong: { from: 'must be a time', duration_minutes: 'must be a whole number from 1 to 480' } });
  for (const minutes of ['', '481', '1.5', 'two']) expect(requestOf('soon', '', minutes, NOW)).toHaveProperty('wrong.duration_minutes');
});

it('lets only admins begin at once', () => {
  expect(beginsOf(true).map(({ value }) => value)).toEqual(['soon', 'hour', 'at']);
  expect(beginsOf(false).map(({ value, label }) => [value, label])).toEqual([['soon', 'In an hour'], ['at', 'At a time']]);
});

it('shows stretches as they were, without those that were called off', () => {
  const at = (hour: number) => new Date(NOW + hour * 3_600_000).toISOString();
  const seconds = (hour: number) => NOW / 1_000 + hour * 3_600;
  expect(
    spansOf([
      { state: 'planned', from: at(5), until: at(6) },
      { state: 'called_off', from: at(3), until: at(4), ended_at: at(3) },
      { state: 'over', from: at(0), until: at(2), ended_at: at(1) },
    ]),
  ).toEqual([{ from: seconds(0), to: seconds(1) }, { from: seconds(5), to: seconds(6) }]);
});

it('tells states, and those it does not know too', () => {
  expect([periodLook('in_force').text, periodLook('on_hold' as 'over').text]).toEqual(['in force', 'on_hold']);
  expect([isAhead({ state: 'planned' }), isAhead({ state: 'in_force' }), isAhead({ state: 'over' })]).toEqual([true, true, false]);
  expect([minutesText(480), minutesText(440), minutesText(45), minutesText(0)]).toEqual(['8 h', '7 h 20 min', '45 min', '0 s']);
});
