// What people say, shown as text: nothing that anybody types is ever read as HTML. Addresses become links, and where a message says that
// it is Markdown, a small part of that becomes elements.

import { Fragment, type ReactNode } from 'react';

const address = /https?:\/\/[^\s<>"'`]+[^\s<>"'`.,;:!?)\]}]/g;

function Links({ text }: { text: string }): ReactNode {
  const parts: ReactNode[] = [];
  let at = 0;
  for (const found of text.matchAll(address)) {
    parts.push(text.slice(at, found.index));
    parts.push(<a key={found.index} href={found[0]} target="_blank" rel="noopener noreferrer nofollow">{found[0]}</a>);
    at = found.index + found[0].length;
  }
  parts.push(text.slice(at));
  return parts;
}

const inline = /(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(\*[^*\n]+\*|\b_[^_\n]+_\b)|(~~[^~\n]+~~)|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)/g;

function Inline({ text }: { text: string }): ReactNode {
  const parts: ReactNode[] = [];
  let at = 0;
  for (const found of text.matchAll(inline)) {
    const [whole, code, strong, emphasis, gone, label, href] = found;
    if (found.index > at) parts.push(<Links key={at} text={text.slice(at, found.index)} />);
    const key = `i${found.index}`;
    if (code) parts.push(<code key={key}>{code.slice(1, -1)}</code>);
    else if (strong) parts.push(<strong key={key}><Inline text={strong.slice(2, -2)} /></strong>);
    else if (emphasis) parts.push(<em key={key}><Inline text={emphasis.slice(1, -1)} /></em>);
    else if (gone) parts.push(<del key={key}>{gone.slice(2, -2)}</del>);
    else parts.push(<a key={key} href={href} target="_blank" rel="noopener noreferrer nofollow">{label}</a>);
    at = found.index + whole.length;
  }
  if (at < text.length) parts.push(<Links key={at} text={text.slice(at)} />);
  return parts;
}

type Block = { kind: 'code' | 'quote' | 'list' | 'text'; lines: string[] };

function blocks(text: string): Block[] {
  const all: Block[] = [];
  let code: Block | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('```')) {
      if (code) code = undefined; else all.push(code = { kind: 'code', lines: [] });
      continue;
    }
    if (code) {
      code.lines.push(line);
      continue;
    }
    const kind = line.startsWith('> ') ? 'quote' : /^[-*] /.test(line) ? 'list' : 'text';
    const body = kind === 'text' ? line : line.slice(2);
    const last = all.at(-1);
    if (last?.kind === kind) last.lines.push(body); else all.push({ kind, lines: [body] });
  }
  return all;
}

export function Text({ text, format }: { text: string; format?: string }): ReactNode {
  if (format !== 'markdown') return <Links text={text} />;
  return blocks(text).map(({ kind, lines }, i) => {
    if (kind === 'code') return <pre key={i}><code>{lines.join('\n')}</code></pre>;
    if (kind === 'quote') return <blockquote key={i}><Inline text={lines.join('\n')} /></blockquote>;
    if (kind === 'list') return <ul key={i}>{lines.map((line, j) => <li key={j}><Inline text={line} /></li>)}</ul>;
    return <Fragment key={i}><Inline text={lines.join('\n')} /></Fragment>;
  });
}

/** Whether a message is nothing but one to three emoji, which are shown large. */
export function isJumbo(text: string): boolean {
  return text.length <= 24 && /^(?:\p{Extended_Pictographic}(?:\u{FE0F}|\u{200D}\p{Extended_Pictographic}|[\u{1F3FB}-\u{1F3FF}])*\s?){1,3}$/u.test(text.trim());
}
