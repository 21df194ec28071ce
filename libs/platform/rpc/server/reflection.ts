import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

/** The files of an encoded FileDescriptorSet, whose only field (number 1) is repeated and of length-delimited messages. */
function filesOf(set: Buffer): Buffer[] {
  const files: Buffer[] = [];
  let at = 0;
  while (at < set.length) {
    if (set[at] !== 0x0a) throw new Error('not a FileDescriptorSet');
    at += 1;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = set[at++]!;
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    files.push(set.subarray(at, at + length));
    at += length;
  }
  return files;
}

/** Lets callers ask the server for its services and their types, from the descriptors of `@pairwise/api`. */
export function addReflection(server: Server, services: readonly string[]): void {
  const path = fileURLToPath(import.meta.resolve('@pairwise/api/descriptor.binpb'));
  const fileDescriptorProtos = filesOf(readFileSync(path));
  const format = 'Protocol Buffer 3 DescriptorProto';
  const codec = { format, type: {}, fileDescriptorProtos } as const;
  new ReflectionService({ files: codec }, { services: [...services] }).addToServer(server);
}
