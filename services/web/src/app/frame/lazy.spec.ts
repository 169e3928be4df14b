import { Component } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import { describe, expect, it } from 'vitest';

import { Lazy } from './lazy';

@Component({ template: '{{ text }}' })
class Loaded {
  protected readonly text = 'loaded';
}

async function textOf(load: () => Promise<typeof Loaded>): Promise<string> {
  const fixture = TestBed.createComponent(Lazy);
  fixture.componentRef.setInput('load', load);
  await fixture.whenStable();
  await fixture.whenStable(); // once it is loaded
  return (fixture.nativeElement as HTMLElement).textContent;
}

describe('Lazy', () => {
  it('shows the component when it is loaded, and says so if it cannot be', async () => {
    expect(await textOf(() => Promise.resolve(Loaded))).toContain('loaded');
    expect(await textOf(() => Promise.reject(new TypeError('gone')))).toContain('could not be loaded');
  });
});
