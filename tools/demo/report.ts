import type { MetricPoint } from '@pairwise/api';
import { histogram, lineChart, type ChartLine } from './charts.ts';
import type { HeldOutQuestion } from './conversations.ts';
import { trainingPoints, type Findings, type Summary, type Target } from './summary.ts';

const [blue, orange, grey] = ['#2563eb', '#ea580c', '#94a3b8'];

const style = `
  :root { color-scheme: light dark; --line: #e2e8f0; --dim: #64748b; --card: #fff; --page: #f8fafc; --ink: #0f172a }
  @media (prefers-color-scheme: dark) {
    :root { --line: #334155; --dim: #94a3b8; --card: #1e293b; --page: #0f172a; --ink: #e2e8f0 } }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 0; background: var(--page); color: var(--ink) }
  main { max-width: 1020px; margin: 0 auto; padding: 32px 20px 64px }
  h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 17px; margin: 36px 0 12px }
  p, figcaption, th { color: var(--dim) } p { margin: 0 0 12px }
  .cards, .charts { display: grid; gap: 14px } .cards { grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)) }
  .charts { grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)) }
  .card, figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin: 0; padding: 14px 16px }
  .card b { display: block; font-size: 22px; font-weight: 600 } .card span { color: var(--dim); font-size: 13px }
  figcaption { font-size: 13px } figcaption b { color: var(--ink); font-weight: 600 }
  figcaption i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin: 0 4px 0 10px }
  svg { width: 100%; height: auto } .frame line { stroke: var(--line) } .frame text { fill: var(--dim); font-size: 11px }
  table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); border-radius: 10px }
  td, th { text-align: left; vertical-align: top; padding: 8px 12px; border-top: 1px solid var(--line); font-weight: 400 }
  tr:first-child > * { border-top: 0 } td.met { color: #16a34a } td.missed { color: #dc2626 }
  code { font-size: 12px; overflow-wrap: anywhere }`;

/** `report.html`: the run as curves, figures and answers, in a single self-contained file. */
export function reportPage(
  summary: Summary,
  findings: Findings,
  questions: readonly HeldOutQuestion[],
  checks: readonly Target[],
): string {
  const { runId, traceId, reference } = summary;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pairwise: ${escape(runId)}</title><style>${style}</style><main>
<h1>A model that answers briefly</h1>
<p>DPO run <code>${escape(runId)}</code>, trace <code>${escape(traceId)}</code>. ${reference.computed} reference logps were
computed, and ${reference.reused} were reused.</p>
<div class="cards">${cards(summary).join('')}</div>
<h2>Training, step by step</h2><div class="charts">${charts(findings).join('')}</div>
<h2>Targets</h2>${checkTable(checks)}
<h2>Answers to held-out questions, from llama.cpp</h2>${answerTable(findings, questions)}
<h2>Files</h2>${fileTable(summary)}
</main></html>
`;
}

function cards(summary: Summary): string[] {
  const { loss, rewardAccuracy, meanResponseTokens, factsRight } = summary;
  const percent = (share: number) => `${(share * 100).toFixed(0)} %`;
  const card = (title: string, from: string, to: string) =>
    `<div class="card"><b>${from} → ${to}</b><span>${title}</span></div>`;
  return [
    card('tokens per answer', meanResponseTokens.before.toFixed(1), meanResponseTokens.after.toFixed(1)),
    card('facts right', percent(factsRight.before), percent(factsRight.after)),
    card('loss', loss.first.toFixed(4), loss.last.toFixed(4)),
    card('reward accuracy, held-out pairs', percent(rewardAccuracy.before), percent(rewardAccuracy.after)),
  ];
}

function charts({ points, base, tuned }: Findings): string[] {
  const series = (name: string, title: string, colour: string): ChartLine => ({
    name: title,
    colour,
    points: trainingPoints(points).map(({ step, values }: MetricPoint) => [step, values[name]!]),
  });
  const lengths = ({ greedy }: Findings['base']) => greedy.map(({ tokenCount }) => tokenCount);
  const drawn = (title: string, lines: ChartLine[]) => figure(title, lines, lineChart(lines));
  return [
    drawn('Loss', [series('loss', 'training', blue)]),
    drawn('Reward margin', [series('rewards/margins', 'chosen minus rejected', blue)]),
    drawn('Reward accuracy', [series('rewards/accuracies', 'share of pairs with a positive margin', blue)]),
    drawn('Logps, in nats', [series('logps/chosen', 'chosen', blue), series('logps/rejected', 'rejected', orange)]),
    drawn('Gradient norm', [series('grad_norm', 'before clipping', blue)]),
    figure(
      'Tokens per answer',
      [
        { name: 'before', colour: grey },
        { name: 'after', colour: blue },
      ],
      histogram([
        { colour: grey, values: lengths(base) },
        { colour: blue, values: lengths(tuned) },
      ]),
    ),
  ];
}

function figure(title: string, lines: readonly Pick<ChartLine, 'name' | 'colour'>[], drawing: string): string {
  const legend = lines.map(({ name, colour }) => `<i style="background:${colour}"></i>${name}`).join('');
  return `<figure><figcaption><b>${title}</b>${legend}</figcaption>${drawing}</figure>`;
}

function checkTable(checks: readonly Target[]): string {
  const rows = checks.map(({ name, met, value }) => {
    return `<tr><td class="${met ? 'met">✔' : 'missed">✖'}</td><td>${name}</td><td>${Number(value.toPrecision(4))}</td></tr>`;
  });
  return `<table>${rows.join('')}</table>`;
}

const shownAnswers = 12;

function answerTable({ base, tuned }: Findings, questions: readonly HeldOutQuestion[]): string {
  const rows = questions.slice(0, shownAnswers).map(({ question }, index) => {
    const cells = [question, base.greedy[index]!.text, tuned.greedy[index]!.text].map(escape);
    return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  });
  return `<table><tr><th>question</th><th>before</th><th>after</th></tr>${rows.join('')}</table>`;
}

function fileTable({ artifacts }: Summary): string {
  const rows = artifacts.map(({ path, sha256, type }) => {
    return `<tr><td>${escape(path)}</td><td>${type}</td><td><code>${sha256}</code></td></tr>`;
  });
  return `<table>${rows.join('')}</table>`;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
