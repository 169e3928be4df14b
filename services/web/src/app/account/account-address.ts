/** The parameters of the page's address as signals, and how they change. */

import { Injectable, computed, inject, signal } from '@angular/core';
import { NavigationEnd, Router, type Params } from '@angular/router';

import { rangeOf, transferIdOf } from './address';
import { filterOf } from './transfers/filter';

@Injectable({ providedIn: 'root' })
export class AccountAddress {
  readonly #router = inject(Router);
  readonly #parameters = signal<Params>(this.#router.parseUrl(this.#router.url).queryParams);

  readonly range = computed(() => rangeOf(this.#parameters()['range']));
  /** The id of the transfer in the drawer; null if the drawer is closed. */
  readonly transfer = computed(() => transferIdOf(this.#parameters()['transfer']));

  readonly filter = computed(() => filterOf(this.#parameters()));

  constructor() {
    this.#router.events.subscribe((event) => {
      if (event instanceof NavigationEnd)
        this.#parameters.set(this.#router.parseUrl(event.urlAfterRedirects).queryParams);
    });
  }

  /** Changes parameters, so that back, forward, a reload and a shared link show the same. Null removes one. */
  change(parameters: Params): void {
    void this.#router.navigate([], {
      queryParams: parameters,
      queryParamsHandling: 'merge',
      scroll: 'manual', // the rows stay where they are
    });
  }
}
