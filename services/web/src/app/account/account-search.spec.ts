import { TestBed } from '@angular/core/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { MAX_WATCHED } from '../overview/watchlist-address';
import { AccountSearch } from './account-search';

type Answer = (accounts: readonly string[]) => void;

/** Returns the field of a search, the text of its selection, and functions that answer its reads. */
function createSearch() {
  const answers: Answer[] = [];
  vi.stubGlobal('fetch', (url: string | URL) => {
    if (!String(url).includes('/accounts')) return Promise.resolve(new Response('', { status: 404 }));
    return new Promise<Response>((resolve) => {
      answers.push((accounts) => {
        const listed = accounts.map((account) => ({
          account,
          epoch: '00000000000000a1',
          revision: 1,
          balance: null,
        }));
        resolve(Response.json({ accounts: listed, next: null }));
      });
    });
  });
  const fixture = TestBed.createComponent(AccountSearch);
  fixture.componentRef.setInput('wide', true);
  const element = fixture.nativeElement as HTMLElement;
  const field = element.querySelector('input') ?? expect.fail();
  const press = (key: string) => field.dispatchEvent(new KeyboardEvent('keydown', { key }));
  const type = (text: string) => {
    field.value = text;
    field.dispatchEvent(new Event('input'));
  };
  const watch = async (text: string) => {
    type(text);
    await fixture.whenStable();
    element.querySelector<HTMLElement>('[data-testid=watch]')?.click();
    await fixture.whenStable();
    return element.querySelector('.error')?.textContent;
  };
  const selected = async () => {
    await fixture.whenStable();
    return element.querySelector('[aria-selected=true] .id')?.textContent ?? null;
  };
  const answered = async (count: number) => {
    await vi.waitFor(() => {
      expect(answers).toHaveLength(count);
    });
    return answers.at(-1) ?? expect.fail();
  };
  const offered = async (count: number) => {
    await vi.waitFor(() => {
      expect(element.querySelectorAll('[role=option]')).toHaveLength(count);
    });
  };
  return { field, watch, press, type, selected, answered, offered };
}

describe('AccountSearch', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it('keeps the selected account when another response arrives, until the text changes', async () => {
    const { field, press, type, selected, answered, offered } = createSearch();
    field.dispatchEvent(new Event('focus'));
    (await answered(1))(['acc-1', 'acc-2', 'acc-3']);
    await offered(3);
    type('acc');
    const respond = await answered(2);
    press('ArrowDown');
    press('ArrowDown');
    expect(await selected()).toBe('acc-2');
    respond(['acc-0', 'acc-1', 'acc-2', 'acc-3']);
    await offered(4);
    expect(await selected()).toBe('acc-2');
    type('acc-');
    expect(await selected()).toBeNull();
  });

  it('says how many entries of a text it does not watch', async () => {
    const { watch, field } = createSearch();
    expect(await watch('acc-1, acc-2')).toBe('');
    expect(await watch('acc-1, acc/2, .., acc-3')).toMatch(/^2 entries are not watched/);
    expect(field.value).toBe('');
    expect(await watch('..')).toMatch(/^An account id consists of/);
    const many = Array.from({ length: MAX_WATCHED }, (_, index) => `b${index}`);
    expect(await watch(many.join(' '))).toMatch(/^3 entries are not watched/);
  });
});
