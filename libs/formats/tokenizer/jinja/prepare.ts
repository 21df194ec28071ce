import type { TemplateNode } from './library.ts';

/**
 * Marks what writes output. The library returns a block's text, and loses it at `break` and `continue`; here everything is
 * written in order, each iteration of a loop has its own scope, and macros and blocks with a name capture what they write.
 */
export function prepare(node: TemplateNode): TemplateNode {
  for (const name of ['body', 'alternate', 'defaultBlock']) {
    if (!Array.isArray(node[name])) continue;
    const prepared = (node[name] as TemplateNode[]).map((statement) =>
      silent.has(statement.type) ? prepare(statement) : { type: 'Output', expression: prepare(statement) },
    );
    const wrapper = name === 'body' ? wrapperOf[node.type] : undefined;
    node[name] = wrapper === undefined ? prepared : [{ type: wrapper, program: { type: 'Program', body: prepared } }];
  }
  return node;
}

/** Statements that write nothing but what their own blocks write. */
const silent = new Set(['If', 'For', 'Set', 'Macro', 'Break', 'Continue', 'Comment']);
const wrapperOf: Readonly<Record<string, string>> = {
  For: 'Iteration',
  Macro: 'Capture',
  Set: 'Capture',
  FilterStatement: 'Capture',
  CallStatement: 'Capture',
};
