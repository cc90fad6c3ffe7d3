import { auth } from "../../../auth";

export const GET = auth((request) => {
  if (!request.auth) return Response.json({ error: "You must be signed in." }, { status: 401 });
  return Response.json({ session: request.auth });
});
