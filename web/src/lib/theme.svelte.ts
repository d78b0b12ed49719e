// Light, dark, or as the system says. Kept in this browser only.
export type Theme = 'system' | 'light' | 'dark';

const KEY = 'lucid-theme';

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'system';
  } catch {
    return 'system';
  }
}

class Appearance {
  #theme = $state.raw<Theme>(stored());
  #system = $state.raw(matchMedia('(prefers-color-scheme: dark)').matches);
  readonly dark: boolean = $derived(this.#theme === 'system' ? this.#system : this.#theme === 'dark');

  constructor() {
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', (e) => (this.#system = e.matches));
    this.apply();
  }

  get theme(): Theme {
    return this.#theme;
  }

  set theme(theme: Theme) {
    this.#theme = theme;
    try {
      if (theme === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // A browser that keeps nothing still changes for now.
    }
    this.apply();
  }

  private apply(): void {
    if (this.#theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.#theme;
  }
}

export const appearance = new Appearance();
