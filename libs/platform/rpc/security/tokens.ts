import { createHash, timingSafeEqual } from 'node:crypto';
import { type AccessEntry, type Role, parseAccess } from '@pairwise/config';
import { PairwiseError } from '@pairwise/errors';
import type { Access } from './access.ts';
import { type ReloadLog, reloaded } from './reload.ts';

/** A caller and its role in each project; `*` stands for all projects. */
export interface Caller {
  name: string;
  roles: Readonly<Record<string, Role>>;
}

function tokenIn(contents: Buffer, path: string): string {
  const token = contents.toString().trim();
  if (/^[\x21-\x7e]{16,}$/.test(token)) return token;
  throw new PairwiseError('INVALID_ARGUMENT', `${path} does not contain a token of at least 16 printable characters`, {
    field: 'PAIRWISE_TOKEN_FILE',
  });
}

/**
 * Reads the token in a file, and reads it again when the file changes. Throws INVALID_ARGUMENT if there is none, or if
 * it is too short to be secret.
 */
export function readToken(path: string, log: ReloadLog): () => string {
  return reloaded([path], ([contents]) => tokenIn(contents!, path), log);
}

const sha256 = (text: string) => createHash('sha256').update(text).digest();

function entriesOf({ accessFile, tokenFile }: Access, log: ReloadLog): () => AccessEntry[] {
  if (accessFile !== undefined) {
    return reloaded([accessFile], ([contents]) => parseAccess(contents!.toString(), accessFile), log);
  }
  if (tokenFile === undefined) return () => [];
  const only = (token: string) => [
    { name: 'the one token', sha256: sha256(token).toString('hex'), roles: { '*': 'admin' } as const },
  ];
  return reloaded([tokenFile], ([contents]) => only(tokenIn(contents!, tokenFile)), log);
}

/**
 * Finds the caller with the token of an `authorization` header; undefined if there is none. Every token's sha256 is
 * compared each time, so that the duration reveals nothing.
 */
export function openTokens(access: Access, log: ReloadLog): (authorization: string | undefined) => Caller | undefined {
  const current = entriesOf(access, log);
  return (authorization) => {
    const token = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    const given = sha256(token);
    const [found] = current().filter((entry) => timingSafeEqual(given, Buffer.from(entry.sha256, 'hex')));
    return found;
  };
}
