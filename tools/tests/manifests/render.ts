import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { kubectl } from './kubectl.ts';
import type { KubernetesObject } from './objects.ts';

const deploy = join(import.meta.dirname, '../../../deploy');

/** Names of the overlays. */
export const overlays = readdirSync(join(deploy, 'overlays')).sort();

/** Builds a kustomization. Throws kubectl's error if it does not build. */
export function render(folder: string): KubernetesObject[] {
  const text = execFileSync(kubectl(), ['kustomize', folder], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  return parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject);
}

export const renderOverlay = (name: string): KubernetesObject[] => render(join(deploy, 'overlays', name));
