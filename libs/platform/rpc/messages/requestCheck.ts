import { enumFields } from '@pairwise/api';
import { refuseField } from './field.ts';
import { joinedPath } from './fields.ts';

type Enum = Readonly<Record<string, number>>;

/**
 * Returns a check of the requests of a method that throws INVALID_ARGUMENT for an enum value which this server does not know,
 * with the path of the field.
 */
export function enumCheckOf(methodPath: string): (request: unknown) => void {
  const fields = (enumFields[methodPath] ?? []).map(([path, type]) => ({ steps: path.split('.'), type }));
  return (request) => {
    for (const { steps, type } of fields) check(request, steps, type, '');
  };
}

function check(value: unknown, steps: readonly string[], type: Enum, path: string): void {
  if (value === undefined) return;
  if (Array.isArray(value)) {
    value.forEach((each, index) => check(each, steps, type, `${path}[${index}]`));
    return;
  }
  const [step, ...later] = steps;
  if (step === undefined) {
    requireKnown(value as number, type, path);
    return;
  }
  const message = value as Record<string, unknown>;
  // A oneof is an object {$case, value}, which does not appear in the field's path.
  if ('$case' in message) {
    if (message['$case'] === step) check(message['value'], later, type, joinedPath(path, step));
    return;
  }
  const next = message[step];
  check(next, later, type, isOneof(next) ? path : joinedPath(path, step));
}

const isOneof = (value: unknown) => typeof value === 'object' && value !== null && '$case' in value;

function requireKnown(value: number, type: Enum, path: string): void {
  const known = Object.entries(type);
  if (known.some(([, number]) => number === value)) return;
  const names = known.map(([name, number]) => `${number} (${name})`).join(', ');
  refuseField(path, `is ${value}, which this server does not know; it knows ${names}`);
}
