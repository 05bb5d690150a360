// An OpenID Connect provider for tests: node provider.mjs PORT CLIENTS_JSON. Anyone signs in, with any password;
// "ann+guards+night" is ann, in the groups guards and night. Access tokens are JWTs for the audience cake-api.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const found = createRequire(`${process.env.IDENTITY_PROVIDER}/`).resolve("oidc-provider");
const { Provider } = await import(pathToFileURL(found));

const [port, clients] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const groupsOf = (login) => login.split("+").slice(1);

const provider = new Provider(issuer, {
  clients: JSON.parse(clients),
  claims: { openid: ["sub"], profile: ["name", "preferred_username"], groups: ["groups"] },
  scopes: ["openid", "profile", "groups"],
  cookies: { keys: ["of the test"] },
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_context, client) => (client.clientId === "program" ? "urn:cake" : undefined),
      getResourceServerInfo: () => ({ scope: "", audience: "cake-api", accessTokenFormat: "jwt" }),
    },
  },
  extraTokenClaims: () => ({ groups: ["machines"] }),
  pkce: { required: () => true },
  findAccount: (_context, login) => ({
    accountId: login,
    claims: () => ({ sub: login, preferred_username: login.split("+")[0], groups: groupsOf(login) }),
  }),
});
provider.listen(Number(port), "localhost", () => console.log("listening"));
