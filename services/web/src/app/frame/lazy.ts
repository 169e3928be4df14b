import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  ViewContainerRef,
  afterNextRender,
  inject,
  input,
  viewChild,
  type Type,
} from '@angular/core';

/** The place of a component that is no part of the first paint: it is loaded when its place appears. */
@Component({
  selector: 'lb-lazy',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: '<ng-container #place />',
})
export class Lazy {
  readonly load = input.required<() => Promise<Type<unknown>>>();
  protected readonly place = viewChild.required('place', { read: ViewContainerRef });

  constructor() {
    const destroyed = inject(DestroyRef);
    afterNextRender(() => {
      void this.load()().then((component) => {
        if (!destroyed.destroyed) this.place().createComponent(component);
      });
    });
  }
}
