import { parseAst } from 'vite';
import { expect, test } from 'vitest';
import { gathered } from './markup.mjs';

const pieces = (code: string) => gathered(code, (text: string) => parseAst(text));
/** The lines of the one text in it. */
const lines = (code: string) => /`([^]*?)`\)/.exec(code)?.[1]?.split('\n').sort();

test('equal pieces are one, and every use finds its own', () => {
  const code = pieces("var a=t('markup',[['p',null,'Hello']]),b=t('markup',[['p',null,'Hello']]),n=1;function f(){return [a(),b(),n]}");
  expect(code).toBe('var a=t(`<p|Hello`),n=1;function f(){return [a(0),a(0),n]}');
});

test('texts, places, classes, attributes, fragments and pictures', () => {
  const code = pieces(
    "var a=t('markup',[['div',{class:'card s1','aria-label':'a=b'},['h2',null,' '],' ',,]],0),b=t('markup',[,' ',['br']],1),c=t('markup',[['circle',{r:'2'}]],4);let f=()=>[a(),b(),c()]",
  );
  expect(lines(code)).toEqual(['"<circle"r=2', '<div.card s1"aria-label=a=b|<h2| > ~', '>~ <br']);
});

test('a button says its type only where it is another', () => {
  const code = pieces("var a=t('markup',[['button',{type:'button'},'A']]),b=t('markup',[['button',null,'B']]);f(a(),b())");
  expect(lines(code)).toEqual(['<button"type=submit|B', '<button|A']);
});

test('names that stand for something else are left alone, and a shadowed one is refused', () => {
  expect(pieces("var a=t('markup',[['p']]);f(a(),x.a,{a:1})")).toBe('var a=t(`<p`);f(a(0),x.a,{a:1})');
  expect(() => pieces("var a=t('markup',[['p']]);function f(a){return a}")).toThrow('a piece of markup is used');
});

test('what a line cannot hold stops the build', () => {
  for (const tree of ["[['p',null,'a < b']]", "[['p',null,'~']]", "[['p',{title:'say \"a\"'}]]", "[['p',null,'']]", "[['p',null,'a','b']]", "[['pre',null,'a\\nb']]", "[['template']]"]) {
    expect(() => pieces(`var a=t('markup',${tree});f(a())`), tree).toThrow();
  }
  expect(lines(pieces("var a=t('markup',[['p',null,'two\\n  lines `and` ${more}']]);f(a())"))?.join()).toContain('two lines \\');
});
