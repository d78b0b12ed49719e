import type { Plugin } from 'vite';
export function markup(): Plugin[];
export function gathered(code: string, parse: (code: string) => unknown): string;
