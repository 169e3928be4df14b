// Applies the theme that the user has chosen, before the page is painted. The content security policy allows no
// inline script, and the page's own scripts run too late. `src/app/frame/theme.ts` writes what is read here.
{
  const root = document.documentElement;
  let theme = null;
  try {
    theme = localStorage.getItem('livebalance.theme');
  } catch {
    // The user has blocked the storage of this site: the theme of the system stays.
  }
  if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
}
