import type { Plugin } from 'vite';
export function markup(): Plugin[];
