// Keeps a copy of this page in one file, which needs no server: style, script and mark stand inside it.

/** To be called before the page is changed; the result saves it as it was. */
export function keepCopy(): () => Promise<void> {
  const page = document.documentElement.cloneNode(true) as HTMLElement;
  return async () => {
    const whole = page.cloneNode(true) as HTMLElement;
    const read = async (url: string): Promise<string> => (await fetch(url)).text();
    const style = whole.querySelector('link[rel=stylesheet]')!;
    const script = whole.querySelector('script[src]')!;
    const mark = whole.querySelector('img')!;
    const inner = document.createElement('style');
    inner.textContent = await read((document.querySelector('link[rel=stylesheet]') as HTMLLinkElement).href);
    style.replaceWith(inner);
    const code = document.createElement('script');
    // What would end the element may stand in texts only.
    code.textContent = (await read((document.querySelector('script[src]') as HTMLScriptElement).src)).replaceAll('</script', '<\\/script');
    script.remove();
    whole.querySelector('body')!.append(code);
    mark.src = `data:image/svg+xml;base64,${btoa(await read((document.querySelector('img') as HTMLImageElement).src))}`;
    whole.querySelector('link[rel=icon]')?.remove();
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([`<!doctype html>\n${whole.outerHTML}`], { type: 'text/html' }));
    link.download = 'lucid-verify.html';
    link.click();
    URL.revokeObjectURL(link.href);
  };
}
