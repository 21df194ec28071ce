/**
 * The parts of `@huggingface/jinja` that we build on, with types: those that it ships name its files without an extension,
 * which Node's resolution does not find.
 */
import * as jinja from '@huggingface/jinja';

/** A value at run time: `type` names the kind, `value` is the JavaScript form (of lists and mappings: of Values). */
export interface Value {
  type: string;
  value: unknown;
  toString(): string;
}

/** A node of a parsed template. */
export interface Node extends Record<string, unknown> {
  type: string;
}

/** Variables, and those of the scope around them. */
export interface Environment {
  variables: Map<string, Value>;
  /** Declares a variable from a JavaScript value; returns the library's form of it. */
  set(name: string, value: unknown): Value;
  setVariable(name: string, value: Value): Value;
}

interface Interpreter {
  global: Environment;
  evaluate(node: Node | undefined, environment: Environment): Value;
}

export const Environment = jinja.Environment as unknown as new (parent?: Environment) => Environment;
export const Interpreter = jinja.Interpreter as unknown as new (environment: Environment) => Interpreter;
export const parse = jinja.parse as unknown as (tokens: unknown[]) => Node;
export const tokenize = jinja.tokenize as unknown as (
  source: string,
  options: { lstrip_blocks: boolean; trim_blocks: boolean },
) => unknown[];
