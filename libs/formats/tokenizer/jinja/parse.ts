import { Scope, parse, tokenize } from './library.ts';
import { PythonInterpreter } from './interpreter.ts';
import { withoutPlusMarks } from './marks.ts';
import { prepare } from './prepare.ts';
import { withTupleCalls } from './tuples.ts';
import { TemplateError } from './values.ts';

/** A chat template that is parsed. Renders with the given variables. */
export type JinjaTemplate = (variables: Readonly<Record<string, unknown>>) => string;

/**
 * Parses a template as transformers does (jinja2 with trim_blocks, lstrip_blocks and loop controls, and Python's values).
 * `@huggingface/jinja` parses and evaluates; what it lacks or does otherwise is added by `PythonInterpreter`.
 * Throws a SyntaxError for what is not a template.
 */
export function parseTemplate(source: string): JinjaTemplate {
  const raw: string[] = [];
  // jinja2 reads every kind of line end as \n.
  const readable = withoutPlusMarks(withoutRaw(source.replace(/\r\n?/g, '\n'), raw));
  const program = parse(withTupleCalls(tokenize(readable, { lstrip_blocks: true, trim_blocks: true })));
  prepare(program);
  return (variables) => {
    const scope = new Scope();
    for (const [name, value] of Object.entries({ ...constants, ...variables })) scope.set(name, value);
    raw.forEach((text, index) => scope.set(rawName(index), text));
    return new PythonInterpreter(scope).render(program);
  };
}

const constants = { true: true, True: true, false: false, False: false, none: null, None: null, range };

function range(...limits: number[]): number[] {
  const [start, stop, step = 1] = limits.length === 1 ? [0, limits[0]!] : [limits[0]!, limits[1]!, limits[2]];
  if (step === 0) throw new TemplateError('range() got a step of zero');
  const length = Math.max(0, Math.ceil((stop - start) / step));
  // As many as the sandbox of jinja2 allows.
  if (length > 100_000) throw new TemplateError('range() is too large');
  return Array.from({ length }, (_, index) => start + index * step);
}

const rawName = (index: number) => `pairwise_raw_${index}`;
const rawBlock = /\{%([-+]?)\s*raw\s*(-?)%\}(.*?)\{%([-+]?)\s*endraw\s*([-+]?)%\}/gs;

/** Puts a variable in the place of each raw block, which the library cannot read. The `if` keeps the block's white space. */
function withoutRaw(source: string, raw: string[]): string {
  return source.replace(
    rawBlock,
    (_, before: string, trimStart: string, text: string, trimEnd: string, after: string) => {
      const start = trimStart === '-' ? text.trimStart() : text;
      raw.push(trimEnd === '-' ? start.trimEnd() : trimEnd === '+' ? start : start.replace(/(^|\n)[ \t]+$/, '$1'));
      return `{%${before} if true %}{{ ${rawName(raw.length - 1)} }}{% endif ${after}%}`;
    },
  );
}
