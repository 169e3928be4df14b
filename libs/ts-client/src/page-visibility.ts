/** Watches whether the page is visible. Outside of a browser nothing is reported. */
export function watchVisibility(onHidden: () => void, onWoke: () => void): () => void {
  if (typeof document === 'undefined') return () => undefined;
  const controller = new AbortController();
  const { signal } = controller;
  const change = () => {
    if (document.visibilityState === 'visible') onWoke();
    else onHidden();
  };
  const wake = () => {
    if (document.visibilityState === 'visible') onWoke();
  };
  document.addEventListener('visibilitychange', change, { signal });
  window.addEventListener('pageshow', wake, { signal });
  window.addEventListener('online', wake, { signal });
  return () => {
    controller.abort();
  };
}
