import type { DescMessage } from '@bufbuild/protobuf';
import { parseDocument } from 'yaml';
import { usage } from '../exit.ts';
import { type Json, type JsonObject, type Problem, checkElement, checkField, pathText } from './check.ts';
import { hintFor } from './hint.ts';
import { fieldOf, messageOf, runSpec } from './schema.ts';

/** Key and value of `training.beta=0.05`; the value is read as YAML, so that `[q_proj, v_proj]` is a list. */
function parse(text: string): { keys: string[]; value: unknown } {
  const equals = text.indexOf('=');
  if (equals < 1) usage(`--set '${text}': it must be <field>=<value>, such as training.beta=0.05`);
  const document = parseDocument(text.slice(equals + 1));
  if (document.errors[0] !== undefined) usage(`--set '${text}': ${document.errors[0].message}`);
  return {
    keys: text
      .slice(0, equals)
      .trim()
      .split(/[.[\]]+/)
      .filter((key) => key !== ''),
    value: document.toJS(),
  };
}

/** Puts a value in its place; what excludes it goes. */
function put(
  message: DescMessage,
  target: JsonObject,
  [key = '', ...rest]: readonly string[],
  value: unknown,
  path: (string | number)[],
  problems: Problem[],
): void {
  const field = fieldOf(message, key);
  const own = [...path, key];
  if (field === undefined) {
    problems.push({ path: own, message: `is not known; ${hintFor(key, message, runSpec)}` });
    return;
  }
  for (const other of field.oneof?.fields ?? []) if (other !== field) Reflect.deleteProperty(target, other.jsonName);
  const within = messageOf(field);
  if (rest.length === 0) {
    const checked = checkField(field, value, own, problems);
    if (checked !== undefined) target[field.jsonName] = checked;
  } else if (field.fieldKind === 'message') {
    const inner = (target[field.jsonName] ??= {}) as JsonObject;
    put(field.message, inner, rest, value, own, problems);
  } else if (field.fieldKind === 'list') {
    const list = (target[field.jsonName] ??= []) as Json[];
    const index = Number(rest[0]);
    if (!Number.isInteger(index) || index < 0 || index > list.length) {
      problems.push({ path: own, message: `has ${list.length} elements, and no place '${rest[0]!}'` });
    } else if (rest.length === 1 || within === undefined) {
      const checked = checkElement(field, value, [...own, index], problems);
      if (checked !== undefined) list[index] = checked;
    } else {
      const inner = (list[index] ??= {}) as JsonObject;
      put(within, inner, rest.slice(1), value, [...own, index], problems);
    }
  } else {
    problems.push({ path: own, message: `has no fields, so there is no '${rest.join('.')}'` });
  }
}

/**
 * Applies `--set training.beta=0.05` to a spec in proto JSON. A name that only `training` has may stand alone
 * (`beta=0.05`); elements of lists go by position (`export_targets.0.gguf.type=Q8_0`).
 */
export function applySetting(spec: JsonObject, text: string): void {
  const { keys, value } = parse(text);
  const training = fieldOf(runSpec, 'training')!.message!;
  const alone = fieldOf(runSpec, keys[0]!) === undefined && fieldOf(training, keys[0]!) !== undefined;
  const problems: Problem[] = [];
  put(runSpec, spec, alone ? ['training', ...keys] : keys, value, [], problems);
  const [problem] = problems;
  if (problem !== undefined) usage(`--set '${text}': ${pathText(problem.path)} ${problem.message}`);
}
