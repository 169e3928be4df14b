import { demoToken } from './token.js';

const loaded = new Promise((resolve) => {
  const reference = window.SwaggerUIBundle({
    url: '/api/openapi.json',
    dom_id: '#reference',
    validatorUrl: null, // asks no third party
    tryItOutEnabled: true,
    defaultModelsExpandDepth: 0,
    onComplete: () => resolve(reference),
  });
});
const state = document.getElementById('token-state');
document.getElementById('demo-token').addEventListener('click', async () => {
  const token = await demoToken();
  // Swagger UI ignores a token before it has loaded the document.
  if (token) (await loaded).preauthorizeApiKey('bearer', token);
  state.value = token ? 'Requests have a token of the demo.' : 'This gateway is no demo, and issues no tokens.';
});
