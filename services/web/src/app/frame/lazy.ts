import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  ViewContainerRef,
  afterNextRender,
  inject,
  input,
  signal,
  viewChild,
  type Type,
} from '@angular/core';

import { wording } from '../wording';

/** The place of a component that is no part of the first paint: it is loaded when its place appears. */
@Component({
  selector: 'lb-lazy',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <ng-container #place />
    @if (failed()) {
      <p class="notice" role="alert">
        {{ wording.notLoaded }}
        <button type="button" class="plain" (click)="reload()">{{ wording.reload }}</button>
      </p>
    }
  `,
})
export class Lazy {
  readonly load = input.required<() => Promise<Type<unknown>>>();
  protected readonly wording = wording.frame;
  /** The component could not be loaded, as after a deployment of another release. */
  protected readonly failed = signal(false);
  protected readonly place = viewChild.required('place', { read: ViewContainerRef });

  constructor() {
    const destroyed = inject(DestroyRef);
    afterNextRender(() => {
      this.load()().then(
        (component) => {
          if (!destroyed.destroyed) this.place().createComponent(component);
        },
        () => {
          this.failed.set(true);
        },
      );
    });
  }

  protected reload(): void {
    location.reload();
  }
}
