// Whether the palette (Ctrl-K) is open. What it offers is in components/Palette.svelte, loaded when first opened.

class Palette {
  open = $state(false);

  show(): void {
    this.open = true;
  }
}

export const palette = new Palette();
