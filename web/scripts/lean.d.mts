import type { Plugin } from 'vite';

export function lean(): Plugin[];
