import { inspect } from 'node:util';
import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { hintFor, nearest } from './hint.ts';
import { fieldOf, runSpec } from './schema.ts';

export type JsonValue = string | number | boolean | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = Record<string, JsonValue>;

/** A problem in a spec. `path` leads to the value, with keys and positions as written. */
export interface Problem {
  path: (string | number)[];
  message: string;
}

/** `spec.training.beta`, `spec.export_targets[0].name`. */
export function pathText(path: readonly (string | number)[]): string {
  return path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : `${text}.${part}`),
    'spec',
  );
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Describes a value in YAML terms. */
function describeValue(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (isObject(value)) return 'a mapping';
  return typeof value === 'string' ? `the text '${value.slice(0, 60)}'` : inspect(value);
}

/** Checks a value of a spec and returns it as proto JSON; adds what is wrong to `problems`. */
export function checkMessage(
  message: DescMessage,
  value: unknown,
  path: (string | number)[],
  problems: Problem[],
): JsonObject {
  const checked: JsonObject = {};
  const chosen = new Map<string, string>();
  // `adapter:` with no value is an adapter with default settings.
  if (value === null || value === undefined) return checked;
  if (!isObject(value)) {
    problems.push({ path, message: `is ${describeValue(value)}; it must be a mapping of ${namesOf(message)}` });
    return checked;
  }
  for (const [key, each] of Object.entries(value)) {
    const field = fieldOf(message, key);
    const own = [...path, key];
    if (field === undefined) {
      problems.push({ path: own, message: `is unknown; ${hintFor(key, message, runSpec)}` });
      continue;
    }
    const before = field.oneof === undefined ? undefined : chosen.get(field.oneof.name);
    if (before !== undefined) problems.push({ path: own, message: `excludes ${before}; keep one of them` });
    if (field.oneof !== undefined) chosen.set(field.oneof.name, key);
    if (field.jsonName in checked) problems.push({ path: own, message: 'is given twice' });
    const result = checkField(field, each, own, problems);
    if (result !== undefined) checked[field.jsonName] = result;
  }
  return checked;
}

const namesOf = (message: DescMessage) =>
  message.fields.length === 0 ? 'nothing' : message.fields.map(({ name }) => name).join(', ');

/** Like `checkMessage`, for the value of one field. */
export function checkField(
  field: DescField,
  value: unknown,
  path: (string | number)[],
  problems: Problem[],
): JsonValue | undefined {
  const refuse = refusing(value, path, problems);
  switch (field.fieldKind) {
    case 'message':
      return checkMessage(field.message, value, path, problems);
    case 'enum':
      return checkEnum(field.enum, value, refuse);
    case 'scalar':
      return checkScalar(field.scalar, value, refuse);
    case 'list': {
      if (!Array.isArray(value)) return refuse(`a list, such as [${typeof value === 'string' ? value : '...'}]`);
      return value.flatMap((each, index) => {
        const element = checkElement(field, each, [...path, index], problems);
        return element === undefined ? [] : [element];
      });
    }
    case 'map':
      throw new Error(`${field.name} is a map, which specs do not support`);
  }
}

/** Like `checkMessage`, for one element of a list. */
export function checkElement(
  field: DescField & { fieldKind: 'list' },
  value: unknown,
  path: (string | number)[],
  problems: Problem[],
): JsonValue | undefined {
  const refuse = refusing(value, path, problems);
  if (field.listKind === 'message') return checkMessage(field.message, value, path, problems);
  return field.listKind === 'enum' ? checkEnum(field.enum, value, refuse) : checkScalar(field.scalar, value, refuse);
}

/** Adds a problem with what the value must be. Returns undefined, because a refused value stays unset. */
type Refuse = (must: string) => JsonValue | undefined;

function refusing(value: unknown, path: (string | number)[], problems: Problem[]): Refuse {
  return (must) => {
    problems.push({ path, message: `is ${describeValue(value)}; it must be ${must}` });
    return undefined;
  };
}

/** Values may be written with the prefix of the proto or without it. */
function checkEnum({ values, sharedPrefix = '' }: DescEnum, value: unknown, refuse: Refuse): JsonValue | undefined {
  const named = values.filter(({ number }) => number !== 0).map(({ name }) => name);
  const plain = (name: string) => name.toUpperCase().replace(sharedPrefix.toUpperCase(), '');
  const found = typeof value === 'string' ? named.find((name) => plain(name) === plain(value)) : undefined;
  if (found !== undefined) return found;
  const short = named.map(plain);
  const near = typeof value === 'string' ? nearest(plain(value), short) : undefined;
  return refuse(`one of ${short.join(', ')}${near === undefined ? '' : `; did you mean ${near}?`}`);
}

function checkScalar(type: ScalarType, value: unknown, refuse: Refuse): JsonValue | undefined {
  switch (type) {
    case ScalarType.STRING:
      if (typeof value === 'string') return value;
      return refuse(typeof value === 'number' || typeof value === 'boolean' ? 'text; put it in quotes' : 'text');
    case ScalarType.BOOL:
      return typeof value === 'boolean' ? value : refuse('true or false');
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return typeof value === 'number' && Number.isFinite(value) ? value : refuse('a number');
    default: {
      const whole = typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 2 ** 31;
      return whole ? value : refuse('a whole number');
    }
  }
}
