/**
 * The parts of `@huggingface/jinja` that we build on, with types: those that it ships name its files without an extension,
 * which Node's resolution does not find.
 */
import * as jinja from '@huggingface/jinja';

/** A value at run time: `type` names the kind, `value` is the JavaScript form (of lists and mappings: of Values). */
export interface TemplateValue {
  type: string;
  value: unknown;
  toString(): string;
}

/** A node of a parsed template. */
export interface TemplateNode extends Record<string, unknown> {
  type: string;
}

/** A token of a template. */
export interface Token {
  type: string;
  value: string;
}

/** Variables, and those of the scope around them. */
export interface Scope {
  variables: Map<string, TemplateValue>;
  /** Declares a variable from a JavaScript value; returns the library's form of it. */
  set(name: string, value: unknown): TemplateValue;
  setVariable(name: string, value: TemplateValue): TemplateValue;
}

interface Interpreter {
  global: Scope;
  evaluate(node: TemplateNode | undefined, scope: Scope): TemplateValue;
}

export const Scope = jinja.Environment as unknown as new (parent?: Scope) => Scope;
export const Interpreter = jinja.Interpreter as unknown as new (scope: Scope) => Interpreter;
export const parse = jinja.parse as unknown as (tokens: readonly Token[]) => TemplateNode;
export const tokenize = jinja.tokenize as unknown as (
  source: string,
  options: { lstrip_blocks: boolean; trim_blocks: boolean },
) => Token[];
