// The configuration in force: found by words, grouped by section, with where each value came from.
import type { Setting } from './api/types';

/** Settings that hold every word of `text` in key, value, meaning or source; in the order they came. */
export function findSettings(settings: readonly Setting[], text: string, changedOnly: boolean): Setting[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return settings.filter((s) => {
    if (changedOnly && s.source === 'default') return false;
    const said = `${s.key} ${s.value} ${s.meaning} ${sourceOf(s)}`.toLowerCase();
    return words.every((word) => said.includes(word));
  });
}

/** By the part of the key before the first point, in order of first appearance. */
export function sections(settings: readonly Setting[]): { name: string; settings: Setting[] }[] {
  const found = new Map<string, Setting[]>();
  for (const setting of settings) {
    const name = setting.key.split('.')[0] ?? '';
    const section = found.get(name);
    if (section) section.push(setting);
    else found.set(name, [setting]);
  }
  return [...found].map(([name, those]) => ({ name, settings: those }));
}

/** A text with `code` in it, in its parts. */
export function codeParts(text: string): { text: string; code: boolean }[] {
  return text
    .split('`')
    .map((part, i) => ({ text: part, code: i % 2 === 1 }))
    .filter((part) => part.text !== '');
}

const FROM = { default: 'default', file: 'file', stored: 'changed here', environment: 'environment', flag: 'command line' };

/** `default`, `file /etc/lucid.toml`, `environment LUCID_LISTEN`, `command line --listen`. */
export function sourceOf({ source, source_name }: Pick<Setting, 'source' | 'source_name'>): string {
  return source_name ? `${FROM[source]} ${source_name}` : FROM[source];
}
