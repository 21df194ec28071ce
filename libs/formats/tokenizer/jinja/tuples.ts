import type { Token } from './library.ts';

/** The name of a function whose calls stand for tuples. No template can use it. */
export const tupleName = '(,)';

/** Words after which a parenthesis is not a call. */
const words = new Set(['in', 'not', 'and', 'or', 'if', 'elif', 'else', 'is']);

/**
 * Rewrites the tuples that the library cannot parse as calls of a function: those with a comma at the end, empty ones, and
 * those without parentheses in `{{ }}` and after `set x =`.
 */
export function withTupleCalls(tokens: readonly Token[]): Token[] {
  const inserted = new Map<number, Token[]>();
  const insert = (at: number, ...added: Token[]) => inserted.set(at, [...added, ...(inserted.get(at) ?? [])]);
  /** Where the brackets around the current token stand, and whether they may become those of a tuple. */
  const brackets: { at: number; canBeTuple: boolean }[] = [];
  /** Where an expression begins that a comma outside of brackets makes a tuple. */
  let bare: number | undefined;
  let isBareTuple = false;
  let isSet = false;
  tokens.forEach(({ type, value }, at) => {
    const last = tokens[at - 1];
    if (opening.has(type)) brackets.push({ at, canBeTuple: type === 'OpenParen' && !isCallable(last!) });
    if (closing.has(type)) {
      const bracket = brackets.pop();
      const isTuple = last!.type === 'Comma' || at - 1 === bracket?.at;
      if (bracket?.canBeTuple === true && isTuple) insert(bracket.at, call);
    }
    if (last?.type === 'OpenStatement') isSet = value === 'set';
    if (type === 'OpenExpression') bare = at + 1;
    if (brackets.length > 0) return;
    if (type === 'Equals' && isSet) bare ??= at + 1;
    if (type === 'Comma' && bare !== undefined) isBareTuple = true;
    if (type !== 'CloseExpression' && type !== 'CloseStatement') return;
    if (isBareTuple) {
      insert(bare!, call, { type: 'OpenParen', value: '(' });
      insert(at, { type: 'CloseParen', value: ')' });
    }
    [bare, isBareTuple, isSet] = [undefined, false, false];
  });
  return tokens.flatMap((token, at) => [...(inserted.get(at) ?? []), token]);
}

const opening = new Set(['OpenParen', 'OpenSquareBracket', 'OpenCurlyBracket']);
const closing = new Set(['CloseParen', 'CloseSquareBracket', 'CloseCurlyBracket']);
const call: Token = { type: 'Identifier', value: tupleName };

function isCallable({ type, value }: Token): boolean {
  return type === 'Identifier' ? !words.has(value) : type === 'CloseParen' || type === 'CloseSquareBracket';
}
