import type { HeldOutQuestion } from './conversations.ts';
import { lineChart, type ChartLine } from './charts.ts';
import { trainingPoints, type Findings, type Summary } from './summary.ts';

const width = 960;
const edge = 20;
const [blue, orange] = ['#2563eb', '#ea580c'];
/** Characters that fit on one line of an answer. */
const lineLength = 118;
const lineHeight = 18;

const style = `
  text { font: 13px system-ui, sans-serif; fill: #0f172a } .page { fill: #f8fafc } .card { fill: #fff; stroke: #e2e8f0 }
  .big { font-size: 22px; font-weight: 600 } .dim, .frame text { fill: #64748b } .frame text { font-size: 16px }
  .frame line { stroke: #e2e8f0 } .bold { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e2e8f0 } .page { fill: #0f172a } .card { fill: #1e293b; stroke: #334155 }
    .dim, .frame text { fill: #94a3b8 } .frame line { stroke: #334155 } }`;

/** `picture.svg`: the demo's result for the README, with figures, curves, and answers before and after. */
export function picture(summary: Summary, findings: Findings, questions: readonly HeldOutQuestion[]): string {
  const { drawing, bottom } = answers(findings, questions);
  const height = bottom + edge;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>Answers before and after DPO, with loss, reward margin and logps during training</title>
<style>${style}</style>
<rect class="page" width="${width}" height="${height}" rx="12"/>
${cards(summary)}
${charts(findings)}
${drawing}
</svg>
`;
}

function cards({ meanResponseTokens, factsRight, loss, rewardAccuracy }: Summary): string {
  const percent = (share: number) => `${(share * 100).toFixed(0)} %`;
  const shown = [
    ['tokens per answer', meanResponseTokens.before.toFixed(1), meanResponseTokens.after.toFixed(1)],
    ['facts right', percent(factsRight.before), percent(factsRight.after)],
    ['loss', loss.first.toFixed(3), loss.last.toFixed(3)],
    ['held-out reward accuracy', percent(rewardAccuracy.before), percent(rewardAccuracy.after)],
  ] as const;
  return shown
    .map(([title, before, after], index) => {
      const x = edge + index * 233;
      const figures = `<text class="big" x="${x + 14}" y="52">${before} → ${after}</text>`;
      return `${card(x, edge, 221, 70)}${figures}<text class="dim" x="${x + 14}" y="76">${title}</text>`;
    })
    .join('\n');
}

function charts({ points }: Findings): string {
  const series = (name: string, title: string, colour: string): ChartLine => ({
    name: title,
    colour,
    points: trainingPoints(points).map(({ step, values }) => [step, values[name]!]),
  });
  const shown: [string, ChartLine[]][] = [
    ['Loss', [series('loss', '', blue)]],
    ['Reward margin', [series('rewards/margins', '', blue)]],
    ['Logps', [series('logps/chosen', 'chosen', blue), series('logps/rejected', 'rejected', orange)]],
  ];
  return shown
    .map(([title, lines], index) => {
      const x = edge + index * 311;
      const legend = lines.map(({ name, colour }) => `<tspan dx="10" fill="${colour}">${name}</tspan>`).join('');
      const head = `<text class="bold" x="${x + 14}" y="126">${title}${legend}</text>`;
      // A nested SVG, so that the chart keeps its own coordinates.
      const drawing = `<svg x="${x + 4}" y="136" width="290" height="134">${lineChart(lines)}</svg>`;
      return `${card(x, 104, 298, 176)}${head}${drawing}`;
    })
    .join('\n');
}

const shownAnswers = 2;

function answers({ base, tuned }: Findings, questions: readonly HeldOutQuestion[]) {
  const top = 294;
  let y = top + 10;
  const parts = questions.slice(0, shownAnswers).flatMap(({ question }, index) => {
    y += lineHeight;
    const head = `<text class="bold" x="34" y="${y}">${escape(question)}</text>`;
    const answer = (title: string, text: string) => {
      const lines = wrap(text).map((line) => `<tspan x="94" dy="${lineHeight}">${escape(line)}</tspan>`);
      const drawn = `<text class="dim" x="34" y="${y + lineHeight}">${title}</text><text y="${y}">${lines.join('')}</text>`;
      y += lines.length * lineHeight;
      return drawn;
    };
    const drawn = [head, answer('before', base.greedy[index]!.text), answer('after', tuned.greedy[index]!.text)];
    y += 12;
    return drawn;
  });
  return { drawing: `${card(edge, top, width - 2 * edge, y - top)}\n${parts.join('\n')}`, bottom: y };
}

function card(x: number, y: number, cardWidth: number, cardHeight: number): string {
  return `<rect class="card" x="${x}" y="${y}" width="${cardWidth}" height="${cardHeight}" rx="10"/>`;
}

/** Breaks a text into lines, which SVG does not do by itself. */
function wrap(text: string): string[] {
  const lines = [''];
  for (const word of text.trim().split(/\s+/)) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + word.length < lineLength) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
