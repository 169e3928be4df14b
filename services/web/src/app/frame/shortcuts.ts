/** Shortcuts of a single key. A user can turn them off, because speech input can press them by mistake (WCAG 2.1.4). */

const KEY = 'livebalance.shortcuts';

export function areShortcutsOn(): boolean {
  try {
    return localStorage.getItem(KEY) !== 'off';
  } catch {
    return true;
  }
}

export function setShortcuts(on: boolean): void {
  try {
    if (on) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, 'off');
  } catch {
    // The user has blocked the storage of this site: the shortcuts stay on.
  }
}

/** Returns the key of a shortcut; null while the user types, holds another key down, or has turned them off. */
export function shortcutKey(event: KeyboardEvent): string | null {
  const { target } = event;
  const isTyping =
    target instanceof HTMLElement && target.closest('input, textarea, select, dialog, [contenteditable]');
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return null;
  return areShortcutsOn() ? event.key : null;
}
