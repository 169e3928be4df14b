import { ChangeDetectionStrategy, Component, computed, input, output } from '@angular/core';
import { RouterLink } from '@angular/router';

import { Amount } from '../account/amount';
import { direction } from '../account/amount-format';
import { sparkline } from '../account/sparkline';
import { wording } from '../wording';
import type { LiveRow } from './live-row';

const CHART = { width: 96, height: 24 };
const CHART_ROWS = 30;
const ARROWS = { credit: '↑', debit: '↓', none: '' } as const;

/** A watched account: its balance, the change since the page was opened, its course and its freshness. */
@Component({
  selector: 'lb-watch-row',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount, RouterLink],
  template: `
    <a class="id" [routerLink]="['/accounts', row().account]">{{ row().account }}</a>
    <svg
      class="course"
      [attr.viewBox]="'0 -2 ' + chart.width + ' ' + (chart.height + 4)"
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <path [attr.d]="path()" />
    </svg>
    <span class="change" data-testid="change" [attr.data-direction]="change().direction">
      @if (change().amount; as amount) {
        <span aria-hidden="true">{{ change().arrow }}</span>
        <span class="visually-hidden">{{ wording.change }}</span>
        <lb-amount
          class="figure"
          [amount]="amount"
          [currency]="row().balance?.currency ?? null"
          signDisplay="always"
        />
      }
    </span>
    <span class="amount" [attr.data-amount]="row().balance?.amount">
      @if (row().balance; as balance) {
        <lb-amount class="figure" [amount]="balance.amount" [currency]="balance.currency" />
      } @else {
        <span class="quiet">{{ wording.noBalance }}</span>
      }
    </span>
    <span class="status" [attr.title]="row().status.detail">
      <span class="dot" aria-hidden="true"></span>{{ row().status.text }}
      @if (row().disputed) {
        <strong class="disputed">{{ wording.disputed }}</strong>
      }
    </span>
    <button
      type="button"
      class="plain"
      [attr.aria-label]="wording.remove(row().account)"
      (click)="removed.emit()"
    >
      ✕
    </button>
  `,
})
export class WatchRow {
  readonly row = input.required<LiveRow>();
  readonly removed = output();
  protected readonly wording = wording.watchlist;
  protected readonly chart = CHART;
  readonly #transfers = computed(() => this.row().transfers);
  protected readonly path = computed(() => sparkline(this.#transfers().slice(0, CHART_ROWS), CHART));
  protected readonly change = computed(() => {
    const amount = this.row().change;
    const way = amount === null ? 'none' : direction(amount);
    return { amount, direction: way, arrow: ARROWS[way] };
  });
}
