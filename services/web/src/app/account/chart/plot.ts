/** How uPlot draws the course of a balance. The colours are those of the page's theme, read at each drawing. */

import uPlot from 'uplot';

import { HEIGHT } from './course';

const MARGIN = HEIGHT / 12;
const MINUTE_S = 60;
const DAY_S = 86_400;
const HALF_TEXT = 40; // CSS pixels: half of the longest text at a tick

const formats = {
  second: new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' }),
  minute: new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' }),
  day: new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' }),
  month: new Intl.DateTimeFormat(undefined, { month: 'short', year: 'numeric' }),
};

function tickFormat(seconds: number): Intl.DateTimeFormat {
  if (seconds < MINUTE_S) return formats.second;
  if (seconds < DAY_S) return formats.minute;
  return seconds < 28 * DAY_S ? formats.day : formats.month;
}

/** Returns the text at each tick. A text that the edge of the plot would cut is left out. */
export function tickTexts(
  plot: Pick<uPlot, 'width' | 'valToPos'>,
  ticks: readonly number[],
  seconds: number,
): (string | null)[] {
  const format = tickFormat(seconds);
  return ticks.map((at) => {
    const left = plot.valToPos(at, 'x');
    return left < HALF_TEXT || left > plot.width - HALF_TEXT ? null : format.format(at * 1_000);
  });
}

/** Returns the options of the plot in `element`. `moved` receives the index under the cursor, or null. */
export function plotOptions(element: HTMLElement, moved: (index: number | null) => void): uPlot.Options {
  const colour = (name: string) => () => getComputedStyle(element).getPropertyValue(name).trim();
  return {
    width: element.clientWidth,
    height: element.clientHeight,
    legend: { show: false },
    padding: [8, 0, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 9, fill: colour('--accent') } },
    scales: { y: { range: [-MARGIN, HEIGHT + MARGIN] } },
    axes: [
      {
        stroke: colour('--quiet'),
        grid: { show: false },
        ticks: { show: false },
        font: `12px ${getComputedStyle(element).fontFamily}`,
        size: 26,
        gap: 4,
        space: 90,
        values: (plot, ticks, _, __, seconds) => tickTexts(plot, ticks, seconds),
      },
      { show: false },
    ],
    series: [
      {},
      {
        stroke: colour('--accent'),
        fill: colour('--accent-soft'),
        width: 2,
        points: { show: false },
        paths: uPlot.paths.stepped?.({ align: 1 }) ?? (() => null),
      },
    ],
    hooks: {
      setCursor: [
        (plot) => {
          moved(plot.cursor.idx ?? null);
        },
      ],
    },
  };
}
