import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type DescField, type DescMessage, createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

function describe(name: string): DescMessage {
  const path = fileURLToPath(import.meta.resolve('@pairwise/api/descriptor.binpb'));
  const message = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(path))).getMessage(name);
  if (message === undefined) throw new Error(`the API has no message ${name}`);
  return message;
}

/** Descriptor of RunSpec. */
export const runSpec = describe('pairwise.v1.RunSpec');

/** A field by its proto name or its JSON name. */
export function fieldOf(message: DescMessage, key: string): DescField | undefined {
  return message.fields.find(({ name, jsonName }) => name === key || jsonName === key);
}

/** The message type of a field or of its elements; undefined for other fields. */
export function messageOf(field: DescField): DescMessage | undefined {
  if (field.fieldKind === 'message') return field.message;
  return field.fieldKind === 'list' && field.listKind === 'message' ? field.message : undefined;
}
